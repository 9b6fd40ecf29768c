"""A provider of generation by source: intensity follows from it, only of the past; and of what is announced ahead."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta

from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.mix import MixSlot, intensities
from kilowait_forecasters.signal import Signal
from kilowait_forecasters.zone import Zone

from . import payload
from .announcing import Announcing
from .base import ended, no_forecast, none_realised, require_served, require_span

# Late reports are added and corrected; until then values are provisional.
_REVISED_FOR = timedelta(days=2)


class FromMix(Announcing):
    """`mix` is for the provider to answer, history follows by factors. Imports into the zone are not in it.

    So is what the grid announces a day ahead, of which no intensity is made here.
    """

    name: str
    signal: Signal

    @abstractmethod
    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]:
        """Generation by fuel on whole slots that overlap [start, end) and had ended by `now`, in order; may be none."""

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """Raises Permanent: none of them forecasts intensity; our own model does, from their history."""
        require_span(now, until)
        require_served(self, zone)
        raise no_forecast(self.name, zone)

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Intensity of what was generated; `estimated` for two days, while it is corrected.

        Slots that lack a source of weight are gaps.
        """
        generated = await self.mix(zone, start=start, end=end, now=now)
        slots = intensities(generated, scope=self.signal.scope, provisional_from=now - _REVISED_FOR)
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return payload.series_of(past, zone=zone, signal=self.signal, source=self.name)
