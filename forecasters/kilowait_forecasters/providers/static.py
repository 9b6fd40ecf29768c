"""One configured number per zone: the last resort where nothing else knows the zone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from kilowait_forecasters.errors import Refused
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE, Signal
from kilowait_forecasters.zone import Zone

from .base import MOST_PLAUSIBLE_G_PER_KWH, ended, hours, none_realised, require_served, require_span


class Static:
    """The same gCO2e/kWh at every hour, every slot flagged `estimated`: enough to account with, nothing to plan by.

    `g_per_kwh` maps zone ids to means of the year, all of one `signal`. Raises Refused where a value is not between 0
    and 3,000.
    """

    name = "static"

    def __init__(self, g_per_kwh: Mapping[str, float], *, signal: Signal = AVERAGE_LIFECYCLE) -> None:
        for zone_id, value in g_per_kwh.items():
            if not (math.isfinite(value) and 0 <= value <= MOST_PLAUSIBLE_G_PER_KWH):
                raise Refused(f"mean intensity of zone {zone_id} is {value}; give gCO2e/kWh between 0 and 3000")
        self.signal = signal
        self._g_per_kwh = {Zone(zone_id).id: float(value) for zone_id, value in g_per_kwh.items()}

    def zones(self) -> frozenset[str] | None:
        """The zones configured."""
        return frozenset(self._g_per_kwh)

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """The constant, for the hours from the one that holds `now` to the one that holds the last instant."""
        require_span(now, until)
        require_served(self, zone)
        series = self._series(zone, self._slots(zone, start=now, end=until))
        return Forecast(
            zone=zone,
            signal=self.signal,
            issued_at=now,
            available_at=now,
            series=series,
            parts=(Part(series.start, self.name, "configured mean of the year, the same at every hour"),),
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """The constant for the hours that have ended; still an estimate."""
        require_span(start, end)
        require_served(self, zone)
        past = ended(self._slots(zone, start=start, end=end), start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    def _slots(self, zone: Zone, *, start: datetime, end: datetime) -> list[Slot]:
        value = self._g_per_kwh[zone.id]
        return [Slot(first, last, value, estimated=True) for first, last in hours(start, end)]

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)
