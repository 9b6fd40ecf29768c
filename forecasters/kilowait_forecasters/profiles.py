"""Typical days: mean intensity by month and hour of some zones, bundled, for when no provider can be asked.

They are not a forecast and say so at every value; what they are worth and how they were made is in `docs/profiles.md`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files

from .errors import Permanent, Refused
from .forecast import Forecast, Part
from .intensity import IntensitySeries, Slot
from .providers.base import ended, hours, none_realised, require_served, require_span
from .signal import Kind, Scope, Signal
from .zone import Zone

NOTE = "typical day of that month, not a forecast"


@dataclass(frozen=True)
class TypicalHour:
    """Mean, 10th and 90th percentile over all days of one month and UTC hour, gCO2e/kWh."""

    mean_g_per_kwh: float
    p10_g_per_kwh: float
    p90_g_per_kwh: float


@dataclass(frozen=True)
class TypicalDay:
    """The 12 x 24 typical hours of one zone and signal, in UTC."""

    zone: Zone
    signal: Signal
    hours: Mapping[tuple[int, int], TypicalHour]

    def at(self, moment: datetime) -> TypicalHour:
        """The hour of day and month that holds `moment` (UTC)."""
        return self.hours[moment.month, moment.hour]


class TypicalDays:
    """Provider of typical days, lifecycle or direct: any time ahead or behind, always estimated, with its band.

    Its values are means of the zone's own generation in past years: they know the season and the hour, not the weather,
    the weekday or imports.
    """

    name = "typical-day"

    def __init__(self, *, scope: Scope = Scope.LIFECYCLE) -> None:
        if scope is Scope.OPERATIONAL:
            raise Refused(f"{self.name}: scope is lifecycle or direct, not {scope}")
        self.signal: Signal = Signal(Kind.AVERAGE, scope)

    def zones(self) -> frozenset[str] | None:
        """The zones bundled."""
        return frozenset(self._days)

    def day(self, zone: Zone) -> TypicalDay:
        """The typical day of `zone`. Raises Permanent, naming the zones there are."""
        require_served(self, zone)
        return self._days[zone.id]

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """The typical hours from the one that holds `now` to the one that holds the last instant.

        The centre is the mean, not the median. Issued at `now`: it never ages, having been no forecast to begin with.
        """
        require_span(now, until)
        day = self.day(zone)
        spans = list(hours(now, until))

        def series(values: Iterable[float]) -> IntensitySeries:
            slots = [Slot(*span, value, estimated=True) for span, value in zip(spans, values, strict=True)]
            return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)

        typical = [day.at(start) for start, _ in spans]
        return Forecast(
            zone=zone,
            signal=self.signal,
            issued_at=now,
            available_at=now,
            series=series(hour.mean_g_per_kwh for hour in typical),
            parts=(Part(spans[0][0], self.name, NOTE),),
            low=series(hour.p10_g_per_kwh for hour in typical),
            high=series(hour.p90_g_per_kwh for hour in typical),
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Typical hours for those that have ended by `now`; estimates, as the forecast is."""
        require_span(start, end)
        day = self.day(zone)
        slots = (Slot(*span, day.at(span[0]).mean_g_per_kwh, estimated=True) for span in hours(start, end))
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=past)

    @cached_property
    def _days(self) -> dict[str, TypicalDay]:
        text = files(__package__).joinpath("data/profiles.csv").read_text(encoding="utf-8")
        rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
        found: dict[str, dict[tuple[int, int], TypicalHour]] = {}
        for row in rows:
            mean, p10, p90 = (float(row[f"{self.signal.scope}_{part}"]) for part in ("mean", "p10", "p90"))
            found.setdefault(row["zone"], {})[int(row["month"]), int(row["hour"])] = TypicalHour(mean, p10, p90)
        return {zone_id: TypicalDay(Zone(zone_id), self.signal, hours) for zone_id, hours in found.items()}


def typical_day(zone_id: str, *, scope: Scope = Scope.LIFECYCLE) -> TypicalDay:
    """The bundled typical day of one zone. Raises Permanent for a zone that has none, naming those that have."""
    try:
        return TypicalDays(scope=scope).day(Zone(zone_id))
    except Refused as error:
        raise Permanent(str(error)) from error
