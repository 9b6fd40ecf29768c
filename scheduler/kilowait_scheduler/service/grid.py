"""The server's view of the grid: current forecasts of every zone in use, and what turned out, archived as they came."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.cascade import Attempt, Cascade
from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.signal import Signal
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.store.repository import Store

# Plans may look this far beyond the last deadline: room for a late job, and for `plan` to show later deadlines.
_BEYOND = timedelta(hours=48)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class ZoneView:
    """A zone's forecast, or why there is none; `attempts` says who was asked."""

    zone: str
    forecast: Forecast | None
    attempts: tuple[Attempt, ...]
    problem: str = ""


class Grid:
    """Forecasts by zone, fetched at most every `every` (grid time), and realised intensity for accounting."""

    def __init__(self, cascade: Cascade, store: Store, *, every: timedelta) -> None:
        self._cascade = cascade
        self._store = store
        self._every = every
        self._views: dict[str, ZoneView] = {}
        self._fetched: dict[str, tuple[datetime, datetime]] = {}

    def use(self, cascade: Cascade) -> None:
        """Ask other sources from now on: the regions have changed. What was last known stays until they answer."""
        self._cascade = cascade
        self._fetched.clear()

    def signal_of(self, zone: str) -> Signal:
        return self._cascade.signal_of(Zone(zone))

    async def refresh(self, zones: Iterable[str], *, now: datetime, until: datetime) -> set[str]:
        """Fetch what is missing, old or too short; the zones whose forecast changed."""
        horizon = max(until, now) + _BEYOND
        due = [zone for zone in dict.fromkeys(zones) if self._due(zone, now=now, until=until)]
        found = await asyncio.gather(*(self._fetch(zone, now=now, until=horizon) for zone in due))
        changed = set()
        for view in found:
            before = self._views.get(view.zone)
            if view.forecast is None and before is not None and before.forecast is not None:
                continue  # the cascade has nothing at all; what we last knew stays, its age shows
            self._views[view.zone] = view
            if view.forecast is not None and not _same(view.forecast, before.forecast if before else None):
                changed.add(view.zone)
                await asyncio.to_thread(self._store.add_forecast, view.forecast)
        return changed

    def _due(self, zone: str, *, now: datetime, until: datetime) -> bool:
        if zone not in self._fetched:
            return True
        at, horizon = self._fetched[zone]
        return now - at >= self._every or horizon < until or now < at

    async def _fetch(self, zone: str, *, now: datetime, until: datetime) -> ZoneView:
        self._fetched[zone] = (now, until)
        try:
            answer = await self._cascade.forecast(Zone(zone), now=now, until=until)
        except ForecastersError as error:
            return ZoneView(zone, None, (), problem=str(error))
        return ZoneView(zone, answer.forecast, answer.answers)

    def view(self, zone: str) -> ZoneView:
        return self._views.get(zone) or ZoneView(zone, None, (), problem=f"no forecast for {zone} has been fetched yet")

    def forecasts(self) -> dict[str, Forecast]:
        """Current forecasts by zone id; zones without one are absent."""
        return {zone: view.forecast for zone, view in self._views.items() if view.forecast is not None}

    async def realised(self, zone: str, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Intensity on all of [start, end), which is past: measured where a source has it, else labelled estimates.

        Kept in the store, so that a figure can be traced to what was known when it was made. Raises ForecastersError
        where nothing at all is known.
        """
        signal = self.signal_of(zone)
        kept = await asyncio.to_thread(self._store.realised, zone, signal=signal, start=start, end=end)
        if kept is not None and kept.covers(start, end) and kept.estimated_share(start, end) == 0:
            return kept
        # Whole hours are asked for, so that what is kept are the source's own slots and not pieces of them; estimates
        # are not kept, they are made again from the best knowledge of the moment.
        begin = start.replace(minute=0, second=0, microsecond=0)
        stop = min(end + _HOUR - (end - begin) % _HOUR if (end - begin) % _HOUR else end, now)
        answer = await self._cascade.realised(Zone(zone), start=begin, end=stop, now=now)
        measured = [slot for slot in answer.series.slots if not slot.estimated]
        if measured:
            kept = IntensitySeries(zone=Zone(zone), signal=signal, source=answer.series.source, slots=measured)
            await asyncio.to_thread(self._store.add_realised, kept, at=now)
        return answer.series.between(start, end)


def _same(new: Forecast, old: Forecast | None) -> bool:
    if old is None or new.source != old.source:
        return False
    if new.series.end > old.series.end:
        return False
    begin = max(new.series.start, old.series.start)
    return [s for s in new.series.slots if s.start >= begin] == [
        s for s in old.series.slots if s.start >= begin and s.end <= new.series.end
    ]
