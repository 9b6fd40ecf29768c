"""Who is asked for a zone's intensity, in which order, and what stands in when they do not answer.

Rules, in the order they apply:

1. A zone has one signal: that of its first provider (`signal` where it has none). Providers of another signal are
   refused when the cascade is built. Of the last resorts (our own model, typical days, a configured mean) only those
   of the zone's signal are used, with one exception: where the zone's provider is operational, a resort in direct
   emissions stands in, and every part made of it says so. Operational and direct both count the stack; lifecycle would
   put a step of tens of grams where provider and stand-in meet.
2. Providers are asked in order; the first good answer wins. An answer is good if it holds `now`, is not stamped in the
   future, is younger than `stale_after`, has only plausible values and has not become a flat line in a zone that was
   none in the three days before.
3. When a provider fails, its last good forecast is used while younger than `stale_after`, its age noted; then the next
   provider is asked; then the last resorts. One that asked us to wait, or failed three times in a row, is left alone
   for a while (`pauses`) and asked again after it.
4. Where the winner ends early or has gaps, last resorts fill them, marked part by part. Without one that can, the
   forecast stays short, or keeps its gaps: nothing is invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .errors import ForecastersError, OutOfRange, Permanent, Refused, SignalMismatch, Transient
from .forecast import Forecast, Part
from .intensity import IntensitySeries, Slot
from .pauses import Pauses
from .providers.base import Provider, require_now, require_plausible, require_served, require_span
from .signal import AVERAGE_LIFECYCLE, Scope, Signal
from .zone import Zone

STAND_IN_NOTE = "direct emissions stand in for operational ones"

# How far back values once forecast are kept to stand in for realised ones that are late. Services publish with hours of
# delay, a day at the most; three days also bridge a weekend's outage.
_REMEMBERED_FOR = timedelta(days=3)


@dataclass(frozen=True)
class Attempt:
    """One source that was considered: `error` says why its answer was not used, None that it was."""

    provider: str
    error: str | None = None


@dataclass(frozen=True)
class ForecastAnswer:
    """A forecast, with who answered and why others did not, in the order they were considered."""

    forecast: Forecast
    answers: tuple[Attempt, ...]


@dataclass(frozen=True)
class HistoryAnswer:
    """Realised values, with who answered. `filled`: some slots had to be filled from forecasts or last resorts."""

    series: IntensitySeries
    answers: tuple[Attempt, ...]
    filled: bool = False


class Cascade:
    """Providers per zone id in order of preference, and `last_resorts` for every zone.

    `stale_after` is the age from its issue time at which a forecast is no longer used. Remembers the last good
    forecasts, and who is left alone, in memory; takes over what `after` remembers. Raises SignalMismatch where a zone's
    providers do not share one signal.
    """

    def __init__(
        self,
        providers: Mapping[str, Sequence[Provider]],
        *,
        last_resorts: Sequence[Provider] = (),
        signal: Signal = AVERAGE_LIFECYCLE,
        stale_after: timedelta = timedelta(hours=6),
        after: Cascade | None = None,
    ) -> None:
        for zone_id, listed in providers.items():
            for provider in listed:
                if provider.signal != listed[0].signal:
                    raise SignalMismatch(
                        f"zone {zone_id}: {listed[0].name} gives {listed[0].signal} intensity, {provider.name} gives "
                        f"{provider.signal}; list providers of one signal"
                    )
        self._providers = {Zone(zone_id): tuple(listed) for zone_id, listed in providers.items()}
        self.last_resorts = tuple(last_resorts)
        self._signal = signal
        self._stale_after = stale_after
        before = (dict(after._last), dict(after._seen)) if after is not None else ({}, {})
        self._last: dict[tuple[Zone, str], Forecast] = {
            key: last for key, last in before[0].items() if last.signal == self.signal_of(key[0])
        }
        self._seen: dict[Zone, IntensitySeries] = {
            zone: seen for zone, seen in before[1].items() if seen.signal == self.signal_of(zone)
        }
        self._pauses: Pauses = after._pauses if after is not None else Pauses()

    def signal_of(self, zone: Zone) -> Signal:
        """The signal of every value this cascade gives for `zone`."""
        listed = self._providers.get(zone, ())
        return listed[0].signal if listed else self._signal

    def providers_of(self, zone: Zone) -> tuple[Provider, ...]:
        """Who is asked about `zone`, in this order."""
        return self._providers.get(zone, ())

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> ForecastAnswer:
        """Intensity of `zone` from `now` to `until`, each part labelled with what it is made of.

        May end before `until`, or have gaps, where no last resort knows the zone. Raises Transient if asking again may
        help, else Permanent; Refused where `until` is not after `now`.
        """
        require_span(now, until)
        log = _Log(zone)
        found = await self._from_providers(zone, now=now, until=until, log=log)
        for resort in self.last_resorts:
            if found is not None and found.series.covers(now, until):
                break
            try:
                tail = await self._from_resort(resort, zone, now=now, until=until)
                if found is not None and found.series.covers(now, min(until, tail.series.end)):
                    raise OutOfRange(f"{resort.name}: ends at {tail.series.end.isoformat()}, before it is needed")
                found = tail if found is None else found.extended(tail, until=min(until, tail.series.end))
                log.answered(resort)
            except ForecastersError as error:
                log.failed(resort, error)
        if found is None:
            raise log.nothing("has no forecast; give it a provider, or a configured mean")
        return ForecastAnswer(found, log.attempts)

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> HistoryAnswer:
        """Realised slots that overlap [start, end), ended by `now`; gaps where no provider has a value.

        The first provider that ever tells leads; the next ones fill what it leaves open, and what they say is
        `estimated`: they count otherwise, and the leader may still answer. Raises as `forecast` does.
        """
        require_span(start, end)
        log = _Log(zone)
        series = await self._realised_only(zone, start=start, end=end, now=now, log=log)
        if series is None:
            raise log.nothing(f"has no realised value from {start.isoformat()} to {end.isoformat()}")
        return HistoryAnswer(series, log.attempts)

    async def realised(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> HistoryAnswer:
        """Intensity over exactly [start, end), which must be past, without gaps, for accounting.

        What no provider has realised (yet) is filled with what was last forecast for it, then from last resorts; those
        slots are `estimated` and `filled` is true: to be settled again later. Raises Transient or Permanent where even
        that leaves a gap, Refused where `end` is after `now`.
        """
        require_span(start, end)
        if end > now:
            raise Refused(f"{end.isoformat()} has not come yet at {now.isoformat()}; only what is past is realised")
        log = _Log(zone)
        series = await self._realised_only(zone, start=start, end=end, now=now, log=log)
        filled = series is None or not series.covers(start, end)
        if filled and (seen := self._seen.get(zone)) is not None:
            longer = _with_estimates(series, seen)
            if series is None or list(longer.gaps(start, end)) != list(series.gaps(start, end)):
                log.attempts += (Attempt(f"forecast of {seen.source}"),)
            series = longer
        for resort in self.last_resorts:
            if series is not None and series.covers(start, end):
                break
            try:
                typical = await self._from_resort(resort, zone, now=start, until=end)
                series = _with_estimates(series, typical.series)
                log.answered(resort)
            except ForecastersError as error:
                log.failed(resort, error)
        if series is None or not series.covers(start, end):
            raise log.nothing(f"is not known throughout {start.isoformat()} to {end.isoformat()}, not even by estimate")
        return HistoryAnswer(series.between(start, end), log.attempts, filled)

    async def _from_providers(self, zone: Zone, *, now: datetime, until: datetime, log: _Log) -> Forecast | None:
        for provider in self._providers.get(zone, ()):
            try:
                require_served(provider, zone)
                fresh = await self._asked(provider, zone, now=now, until=until)
                self.signal_of(zone).require(fresh.signal)
                self._require_good(fresh, now=now, name=provider.name)
                self._require_alive(fresh, now=now, name=provider.name)
            except ForecastersError as error:
                log.failed(provider, error)
                last = self._last.get((zone, provider.name))
                if last is not None and self._still_good(last, now=now):
                    log.attempts += (Attempt(f"last forecast of {provider.name}"),)
                    return _aged(last, now=now)
            else:
                log.answered(provider)
                self._remember(fresh, name=provider.name, now=now)
                return fresh
        return None

    async def _asked(self, provider: Provider, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """The provider's answer. One that failed lately is not asked: a plan must not wait for it every time."""
        self._pauses.require_open(provider.name, now=now)
        try:
            fresh = await provider.forecast(zone, now=now, until=until)
        except Transient as error:
            self._pauses.failed(provider.name, error, now=now)
            raise
        except ForecastersError:
            self._pauses.answered(provider.name, now=now)
            raise
        self._pauses.answered(provider.name, now=now)
        return fresh

    def _require_good(self, forecast: Forecast, *, now: datetime, name: str) -> None:
        require_now(forecast, now=now, name=name)
        for series in (forecast.series, forecast.low, forecast.high):
            if series is not None:
                require_plausible(series, name=name)
        if forecast.age(now) >= self._stale_after:
            raise Transient(
                f"{name}: its forecast for {forecast.zone} is {_span(forecast.age(now))} old; too old to use"
            )

    def _require_alive(self, forecast: Forecast, *, now: datetime, name: str) -> None:
        """Raise Transient where a day or more ahead is one value while the days before were not: a source got stuck.

        Zones that burn one fuel are flat for good, and are believed.
        """
        seen = self._seen.get(forecast.zone)
        ahead = forecast.series
        if seen is None or ahead.end - ahead.start < timedelta(days=1) or len({s.g_per_kwh for s in ahead.slots}) > 1:
            return
        if len({slot.g_per_kwh for slot in seen.slots if now - _REMEMBERED_FOR < slot.end}) > 1:
            raise Transient(
                f"{name}: {forecast.series.at(now):g} g/kWh throughout for {forecast.zone}, which was no flat line in "
                "the days before; the source is stuck"
            )

    def _still_good(self, forecast: Forecast, *, now: datetime) -> bool:
        try:
            self._require_good(forecast, now=now, name="")
        except ForecastersError:
            return False
        return True

    def _remember(self, fresh: Forecast, *, name: str, now: datetime) -> None:
        self._last[fresh.zone, name] = fresh
        before = self._seen.get(fresh.zone)
        if before is None:
            self._seen[fresh.zone] = fresh.series
            return
        # What was forecast for times now past stays; what the new forecast does not reach is not kept.
        past = [slot for slot in before.slots if now - _REMEMBERED_FOR < slot.end and slot.start < fresh.series.start]
        if past:
            kept = IntensitySeries(zone=before.zone, signal=before.signal, source=before.source, slots=past)
            self._seen[fresh.zone] = fresh.series.extended(kept)
        else:
            self._seen[fresh.zone] = fresh.series

    async def _realised_only(
        self, zone: Zone, *, start: datetime, end: datetime, now: datetime, log: _Log
    ) -> IntensitySeries | None:
        found: IntensitySeries | None = None
        leading = True
        for provider in self._providers.get(zone, ()):
            if found is not None and found.covers(start, end):
                break
            try:
                require_served(provider, zone)
                series = await provider.history(zone, start=start, end=end, now=now)
                require_plausible(series, name=provider.name)
                found = series if leading else _with_estimates(found, series)
                log.answered(provider)
            except Permanent as error:
                log.failed(provider, error)
                continue  # one that never tells what has been does not lead
            except ForecastersError as error:
                log.failed(provider, error)
            leading = False
        return found

    async def _from_resort(self, resort: Provider, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """The resort's values in the zone's signal. Raises SignalMismatch where they cannot stand for it."""
        wanted = self.signal_of(zone)
        stands_in = wanted.scope is Scope.OPERATIONAL and resort.signal == Signal(wanted.kind, Scope.DIRECT)
        if not stands_in and resort.signal != wanted:
            raise SignalMismatch(f"{resort.name}: gives {resort.signal}; zone {zone} is kept in {wanted}")
        require_served(resort, zone)
        forecast = await resort.forecast(zone, now=now, until=until)
        self._require_good(forecast, now=now, name=resort.name)
        return _standing_in(forecast, signal=wanted) if stands_in else forecast


class _Log:
    """What was tried for one question."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.attempts: tuple[Attempt, ...] = ()
        self._errors: list[ForecastersError] = []

    def answered(self, provider: Provider) -> None:
        self.attempts += (Attempt(provider.name),)

    def failed(self, provider: Provider, error: ForecastersError) -> None:
        self.attempts += (Attempt(provider.name, str(error)),)
        self._errors.append(error)

    def nothing(self, lacks: str) -> Transient | Permanent:
        """The error when nobody answered: Transient, with the earliest wish, if any of the failures may pass."""
        told = (
            "; ".join(attempt.error for attempt in self.attempts if attempt.error) or "no source is configured for it"
        )
        message = f"zone {self.zone} {lacks}: {told}"
        passing = [error for error in self._errors if isinstance(error, Transient)]
        if not passing:
            return Permanent(message)
        wishes = [error.retry_after_s for error in passing if error.retry_after_s is not None]
        return Transient(message, retry_after_s=min(wishes, default=None))


def _aged(forecast: Forecast, *, now: datetime) -> Forecast:
    """`forecast` with its age noted in every part."""
    note = f"issued {_span(forecast.age(now))} ago, reused because {forecast.source} did not answer"
    return replace(forecast, parts=tuple(_noted(part, note) for part in forecast.parts))


def _standing_in(forecast: Forecast, *, signal: Signal) -> Forecast:
    """`forecast` under another signal, which every part says."""

    def renamed(series: IntensitySeries) -> IntensitySeries:
        return IntensitySeries(zone=series.zone, signal=signal, source=series.source, slots=series.slots)

    return replace(
        forecast,
        signal=signal,
        series=renamed(forecast.series),
        low=renamed(forecast.low) if forecast.low is not None else None,
        high=renamed(forecast.high) if forecast.high is not None else None,
        parts=tuple(_noted(part, STAND_IN_NOTE) for part in forecast.parts),
    )


def _noted(part: Part, note: str) -> Part:
    return replace(part, note=f"{part.note}; {note}" if part.note else note)


def _with_estimates(series: IntensitySeries | None, other: IntensitySeries) -> IntensitySeries:
    """`series` with `other` where it has no value, every slot taken from there flagged as estimated."""
    estimates = IntensitySeries(
        zone=other.zone,
        signal=other.signal,
        source=other.source,
        slots=[Slot(slot.start, slot.end, slot.g_per_kwh, estimated=True) for slot in other.slots],
    )
    return estimates if series is None else series.extended(estimates)


def _span(age: timedelta) -> str:
    """`age` in hours and minutes, as people say it."""
    minutes = int(age.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
