"""Energy times intensity, slot by slot: the one place where joules become grams.

Method (docs/method.md, version `slotwise@1`): an energy interval is split at the edges of the intensity slots pro rata
to time and each piece is multiplied by its slot's value. Facility energy = IT energy x PUE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.intensity import IntensitySeries

METHOD = "slotwise@1"
MJ_PER_KWH = 3_600_000_000  # integer millijoules in a kWh: 3.6e6 J

_US = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class EnergyInterval:
    """IT energy drawn on [start, end), in integer millijoules, in one region.

    `uncertainty_pct` is the meter's own, one-sided, in percent of the energy; `estimated` where a reading was missing
    and the agent filled it by a labelled method.
    """

    start: datetime
    end: datetime
    energy_mj: int
    region: str
    uncertainty_pct: float = 5.0
    estimated: bool = False

    @property
    def kwh(self) -> float:
        return self.energy_mj / MJ_PER_KWH

    def cut(self, start: datetime, end: datetime) -> EnergyInterval | None:
        """The part on [start, end), energy pro rata to time; None where they do not meet.

        The pieces of an interval add up to it to the millijoule, however it is cut.
        """
        lower, upper = max(self.start, start), min(self.end, end)
        if lower >= upper:
            return None
        energy_mj = self._mj_until(upper) - self._mj_until(lower)
        return EnergyInterval(lower, upper, energy_mj, self.region, self.uncertainty_pct, self.estimated)

    def _mj_until(self, moment: datetime) -> int:
        """Whole millijoules from the start to `moment`: pieces are differences of this, so no rounding gets lost."""
        return self.energy_mj * ((moment - self.start) // _US) // ((self.end - self.start) // _US)


@dataclass(frozen=True)
class Emission:
    """Carbon of some energy: grams CO2e, the facility kWh behind it, and how many of the grams rest on estimates.

    `meter_uncertainty_g` is the sum of |grams| x the meter's uncertainty (fully correlated: the cautious reading).
    """

    carbon_g: float = 0.0
    energy_kwh: float = 0.0
    estimated_g: float = 0.0
    meter_uncertainty_g: float = 0.0

    def __add__(self, other: Emission) -> Emission:
        return Emission(
            self.carbon_g + other.carbon_g,
            self.energy_kwh + other.energy_kwh,
            self.estimated_g + other.estimated_g,
            self.meter_uncertainty_g + other.meter_uncertainty_g,
        )


def emission(interval: EnergyInterval, *, intensity: IntensitySeries, pue: float) -> Emission:
    """Carbon of one interval. Raises the series' OutOfRange or Gap where a value is missing: never a zero."""
    total_us = (interval.end - interval.start) / _US
    carbon = estimated = 0.0
    facility_kwh = interval.kwh * pue
    for slot in intensity.split(interval.start, interval.end):
        grams = facility_kwh * ((slot.end - slot.start) / _US) / total_us * slot.g_per_kwh
        carbon += grams
        if slot.estimated or interval.estimated:
            estimated += grams
    return Emission(carbon, facility_kwh, estimated, abs(carbon) * interval.uncertainty_pct / 100)


def emissions(
    intervals: Iterable[EnergyInterval], *, intensity: Mapping[str, IntensitySeries], pue: Mapping[str, float]
) -> Emission:
    """Carbon of many intervals, each on its own region's intensity and PUE (both keyed by region name)."""
    total = Emission()
    for interval in intervals:
        total += emission(interval, intensity=intensity[interval.region], pue=pue[interval.region])
    return total
