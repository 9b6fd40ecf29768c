"""Measured energy to grams in the ledger, again and again until the grid's final values are in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError
from kilowait_scheduler.core.carbon import EnergyInterval, emissions
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.store.repository import Store

from .budgets import Budgets
from .grid import Grid

log = logging.getLogger("kilowait.accounting")

# Readings of a run may come in late by this much real time before its hold is given back.
_LATE_READINGS = timedelta(seconds=30)
# Providers settle their history within days; jobs are settled again while it may still change.
_SETTLE_FOR = timedelta(days=7)


class Accounting:
    """Settles jobs: charges what their energy emitted on realised intensity, and corrects when that is revised."""

    def __init__(
        self, *, store: Store, grid: Grid, budgets: Budgets, to_grid: Callable[[timedelta], timedelta]
    ) -> None:
        self._store, self._grid, self._budgets = store, grid, budgets
        self._to_grid = to_grid
        self._settled: dict[str, tuple[int, bool]] = {}

    async def settle(self, *, now: datetime) -> None:
        """Bring the ledger in line with what has been measured up to `now`."""
        records = [r for r in await asyncio.to_thread(self._store.jobs) if self._open(r, now)]
        energy = await asyncio.to_thread(self._store.job_energy_mj, [record.id for record in records])
        for record in records:
            if record.id in energy and self._settled.get(record.id) != (energy[record.id], True):
                try:
                    final = await self._charge(record, now=now)
                    self._settled[record.id] = (energy[record.id], final)
                except ForecastersError as error:
                    log.warning("job %s is not settled yet: %s", record.id, error)
            finished = record.state.finished_at
            if finished is not None and now - finished >= self._to_grid(_LATE_READINGS):
                await asyncio.to_thread(self._budgets.close, record, now=now)

    def _open(self, record: JobRecord, now: datetime) -> bool:
        finished = record.state.finished_at
        return finished is None or now - finished <= _SETTLE_FOR

    async def _charge(self, record: JobRecord, *, now: datetime) -> bool:
        intervals = await asyncio.to_thread(self._store.job_energy, record.id)
        regions = {region.name: region for region in await asyncio.to_thread(self._store.regions)}
        spans = spans_by_region(intervals)
        strange = sorted(spans.keys() - regions.keys())
        if strange:
            log.warning("job %s used energy in region %s, which is not configured; add it", record.id, strange[0])
            return False
        intensity = {
            name: await self._grid.realised(regions[name].zone, start=start, end=min(end, now), now=now)
            for name, (start, end) in spans.items()
        }
        pue = {name: regions[name].pue for name in spans}
        ended = [interval for interval in intervals if interval.end <= now]
        total = emissions(ended, intensity=intensity, pue=pue)
        await asyncio.to_thread(self._budgets.settle, record, grams=total.carbon_g, now=now)
        return total.estimated_g == 0


def spans_by_region(intervals: list[EnergyInterval]) -> dict[str, tuple[datetime, datetime]]:
    """First start and last end of the intervals in each region."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for interval in intervals:
        start, end = spans.get(interval.region, (interval.start, interval.end))
        spans[interval.region] = (min(start, interval.start), max(end, interval.end))
    return spans
