"""Where a job might run, as far as an estimate is concerned: the typical day of a zone, by month and over the year."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .ranges import Range, mean

MONTHS = tuple(range(1, 13))
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TypicalHour(Protocol):
    """Intensity of one UTC hour of the day in one month over past years, gCO2e/kWh."""

    @property
    def mean_g_per_kwh(self) -> float: ...
    @property
    def p10_g_per_kwh(self) -> float: ...
    @property
    def p90_g_per_kwh(self) -> float: ...


@dataclass(frozen=True)
class Place:
    """A zone with its typical day, keyed by (month, UTC hour); where it stands for a region, also its name and PUE."""

    zone: str
    hours: Mapping[tuple[int, int], TypicalHour]
    region: str | None = None
    pue: float | None = None

    @property
    def name(self) -> str:
        return self.region or self.zone

    def month(self, month: int) -> Range:
        """Mean over the month's typical day, between the means of the hours' 10th and 90th percentiles (g/kWh)."""
        hours = [self.hours[month, hour] for hour in range(24)]
        bands = [
            Range(
                min(hour.p10_g_per_kwh, hour.mean_g_per_kwh),
                hour.mean_g_per_kwh,
                max(hour.p90_g_per_kwh, hour.mean_g_per_kwh),
            )
            for hour in hours
        ]
        return mean(bands, [1.0] * len(bands))

    def year(self) -> Range:
        """Mean of the months by their days (g/kWh)."""
        return mean([self.month(month) for month in MONTHS], _DAYS)
