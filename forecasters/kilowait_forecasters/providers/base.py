"""What every source of intensity promises, and the checks that hold it to the promise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries, Slot, require_utc
from kilowait_forecasters.signal import AnySignal, K, Kind, Scope, Signal
from kilowait_forecasters.zone import Zone

HOUR = timedelta(hours=1)

# Bounds of belief for one zone-wide value, gCO2e/kWh. The dirtiest plants known (old lignite, oil at low load) stay
# below 2,000 with their whole fuel chain; what lies above 3,000 is a unit error (kg/MWh or lb/MWh read as g/kWh).
MOST_PLAUSIBLE_G_PER_KWH = 3000.0
# Services publish a real 0 for an hour; for longer it is what remains where data are missing.
LONGEST_ZERO = timedelta(hours=6)


class Named(Protocol):
    """What serves some zones, under a name."""

    @property
    def name(self) -> str:
        """Short, stable name, as in settings and in `Part.source`."""
        ...

    def zones(self) -> frozenset[str] | None:
        """Ids of the zones it serves, or None where only asking tells."""
        ...


class Provider(Named, Protocol[K]):
    """A source of intensity of one signal for one or more zones.

    Never returns a forecast issued after `now` or one that does not hold `now`; a realised value of a slot that had
    not ended by `now`; a value it was not given: a missing one is a gap.
    """

    @property
    def signal(self) -> Signal[K]:
        """The one signal of all its values."""
        ...

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast[K]:
        """Intensity from the slot that holds `now`, up to `until` or as far as the source's horizon goes.

        Raises Transient or Permanent; Refused where `until` is not after `now`.
        """
        ...

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries[K]:
        """Realised slots, whole, that overlap [start, end) and had ended by `now`; gaps where the source has none.

        Raises Transient (none yet) or Permanent (never); Refused where [start, end) has no length.
        """
        ...


@dataclass(frozen=True)
class Access:
    """What a key, token or account may ask of a service for one zone, as the service itself says."""

    zone: str
    signal: AnySignal
    forecast: bool
    history: bool


def require_span(start: datetime, end: datetime) -> None:
    """Refuse a span that is not aware UTC or has no length."""
    if require_utc(end, what="end") <= require_utc(start, what="start"):
        raise Refused(f"span {start.isoformat()} to {end.isoformat()} has no length; the end must come after the start")


def require_served(provider: Named, zone: Zone) -> None:
    """Raise Permanent, naming the zones there are, where the provider says it does not serve `zone`."""
    zones = provider.zones()
    if zones is not None and zone.id not in zones:
        have = ", ".join(sorted(zones)) or "none"
        raise Permanent(f"{provider.name}: no zone {zone}; it has {have}")


def require_now(forecast: Forecast[K], *, now: datetime, name: str) -> Forecast[K]:
    """`forecast` unchanged if it was issued by `now` and has a value for it. Raises Transient otherwise."""
    if forecast.available_at > now:
        raise Transient(
            f"{name}: forecast for {forecast.zone} is stamped {forecast.available_at.isoformat()}, after "
            f"{now.isoformat()}; check the clocks"
        )
    if not forecast.series.covers(now, now + timedelta(microseconds=1)):
        raise Transient(
            f"{name}: forecast for {forecast.zone} has no value for {now.isoformat()}; it runs from "
            f"{forecast.series.start.isoformat()} to {forecast.series.end.isoformat()}"
        )
    return forecast


def require_plausible(series: IntensitySeries[K], *, name: str) -> None:
    """Raise Transient where values cannot be an intensity: negative, zero for long, or beyond any plant's.

    Negative and zero are impossible for averages only, and zero not for direct emissions: water has none.
    """
    least = 0.0 if series.signal.kind is Kind.AVERAGE else -MOST_PLAUSIBLE_G_PER_KWH
    if series.signal.kind is Kind.AVERAGE and series.signal.scope is not Scope.DIRECT:
        _require_no_outage(series, name=name)
    for slot in series.slots:
        if not least <= slot.g_per_kwh <= MOST_PLAUSIBLE_G_PER_KWH:
            raise Transient(
                f"{name}: implausible {slot.g_per_kwh:g} g/kWh for {series.zone} at {slot.start.isoformat()}; "
                "none of its answer is used"
            )


def _require_no_outage(series: IntensitySeries[K], *, name: str) -> None:
    since: datetime | None = None
    for slot in series.slots:
        if slot.g_per_kwh != 0:
            since = None
            continue
        since = since or slot.start
        if slot.end - since >= LONGEST_ZERO:
            raise Transient(
                f"{name}: zero for {series.zone} from {since.isoformat()} on, as no grid is for "
                f"{LONGEST_ZERO // HOUR} h; an outage, and none of its answer is used"
            )


def ended(slots: Iterable[Slot], *, start: datetime, end: datetime, now: datetime) -> list[Slot]:
    """Those of `slots` that overlap [start, end) and had ended by `now`."""
    return [slot for slot in slots if slot.start < end and slot.end > start and slot.end <= now]


def none_realised(name: str, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> Transient:
    """The error for a span in which nothing is realised yet."""
    return Transient(
        f"{name}: no realised value for {zone} from {start.isoformat()} to {end.isoformat()} at {now.isoformat()}; "
        "ask again when its slots have ended"
    )


def no_forecast(name: str, zone: Zone) -> Permanent:
    """The error of a source that knows only the past."""
    return Permanent(f"{name}: forecasts no intensity for {zone}; our own model does, from its history")


def hour_of(moment: datetime) -> datetime:
    """Start of the UTC hour that holds `moment`."""
    return moment.replace(minute=0, second=0, microsecond=0)


def hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The whole UTC hours that overlap [start, end), in order."""
    hour = hour_of(start)
    while hour < end:
        yield hour, hour + HOUR
        hour += HOUR
