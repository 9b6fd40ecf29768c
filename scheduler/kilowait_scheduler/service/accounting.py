"""Measured energy to grams in the ledger, again and again until the grid's final values are in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.carbon import MJ_PER_KWH, Emission, EnergyInterval, emissions
from kilowait_scheduler.core.errors import NotFound
from kilowait_scheduler.core.ledger import to_ug
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.savings import SETTLED_AFTER
from kilowait_scheduler.core.tally import JobValues, Quantity
from kilowait_scheduler.store.repository import Store

from .budgets import Budgets
from .grid import Grid

log = logging.getLogger("kilowait.accounting")

# Readings of a run may come in late by this much real time before its hold is given back.
_LATE_READINGS = timedelta(seconds=30)

Spans = Mapping[str, tuple[datetime, datetime]]


class Accounting:
    """Settles jobs: charges what their energy emitted on realised intensity, and corrects when that is revised."""

    def __init__(
        self, *, store: Store, grid: Grid, budgets: Budgets, to_grid: Callable[[timedelta], timedelta]
    ) -> None:
        self._store, self._grid, self._budgets = store, grid, budgets
        self._to_grid = to_grid
        self._settled: dict[str, tuple[int, bool]] = {}
        self._closed: set[str] = set()
        self._said: dict[str, str] = {}
        self._known: list[JobValues] = []

    async def settle(self, *, now: datetime, on_released: Callable[[], None] = lambda: None) -> None:
        """Bring the ledger in line with what has been measured up to `now`.

        `on_released` is called where budgets got grams back, for jobs may be waiting for them. However many jobs there
        are, each zone is asked once, and zones are asked together.
        """
        if await asyncio.to_thread(self._budgets.begin, now=now):
            on_released()
        records = await asyncio.to_thread(self._store.jobs_to_settle, finished_since=now - SETTLED_AFTER)
        ids = {record.id for record in records}
        self._settled = {job_id: known for job_id, known in self._settled.items() if job_id in ids}
        self._said = {job_id: said for job_id, said in self._said.items() if job_id in ids}
        self._closed &= ids
        energy = await asyncio.to_thread(self._store.job_energy_mj, ids)
        regions = {region.name: region for region in await asyncio.to_thread(self._store.regions)}
        if energy and await self._revised(regions.values(), now=now):
            self._settled.clear()
        unsettled = [r for r in records if r.id in energy and self._settled.get(r.id) != (energy[r.id], True)]
        intervals = {r.id: await asyncio.to_thread(self._store.job_energy, r.id) for r in unsettled}
        await self._ask([spans_by_region(_ended(found, now)) for found in intervals.values()], regions, now=now)
        self._known = []
        settled: dict[str, tuple[int, bool]] = {}
        for record in unsettled:
            try:
                final = await self._charge(record, intervals[record.id], regions, now=now, on_released=on_released)
                settled[record.id] = (energy[record.id], final)
                self._said.pop(record.id, None)
            except (ForecastersError, NotFound) as error:
                self._settled.pop(record.id, None)
                if self._said.get(record.id) != str(error):
                    log.warning("job %s is not settled yet: %s", record.id, error)
                self._said[record.id] = str(error)
        await asyncio.to_thread(self._store.tally, self._known)
        self._settled |= settled  # only now: what could not be counted is settled once more, which charges nothing new
        for record in records:
            # What a job used and nobody can put into grams yet stays held: else a hard budget would be given out twice.
            if record.id not in energy or record.id in self._settled:
                await self._close(record, now=now, on_released=on_released)

    async def _revised(self, regions: Iterable[Region], *, now: datetime) -> bool:
        zones = dict.fromkeys(region.zone for region in regions)
        return any(await asyncio.gather(*(self._grid.revise(zone, now=now) for zone in zones)))

    async def _ask(self, jobs: Sequence[Spans], regions: Mapping[str, Region], *, now: datetime) -> None:
        """Have the grid find out, per zone in one go, what the jobs need; it remembers, each then takes its part."""
        zones: dict[str, tuple[datetime, datetime]] = {}
        for spans in jobs:
            for name, (start, end) in spans.items():
                if name in regions:
                    first, last = zones.get(regions[name].zone, (start, end))
                    zones[regions[name].zone] = (min(first, start), max(last, end))
        asked = (self._grid.realised(zone, start=start, end=end, now=now) for zone, (start, end) in zones.items())
        for result in await asyncio.gather(*asked, return_exceptions=True):
            # What nobody knows is not needed by every job: those that do need it say so below.
            if isinstance(result, BaseException) and not isinstance(result, ForecastersError):
                raise result

    async def _charge(
        self,
        record: JobRecord,
        intervals: Sequence[EnergyInterval],
        regions: Mapping[str, Region],
        *,
        now: datetime,
        on_released: Callable[[], None],
    ) -> bool:
        """Charge what is past of `intervals`; True where nothing was left out and nothing rests on estimates.

        Raises ForecastersError where intensity is missing, NotFound where the region is.
        """
        past = _ended(intervals, now)
        spans = spans_by_region(past)
        strange = sorted(spans.keys() - regions.keys())
        if strange:
            raise NotFound(f"it used energy in region {strange[0]}, which is not configured; add it")
        intensity = {
            name: await self._grid.realised(regions[name].zone, start=start, end=end, now=now)
            for name, (start, end) in spans.items()
        }
        if past:
            pue = {name: regions[name].pue for name in spans}
            parts = {
                name: emissions((i for i in past if i.region == name), intensity=intensity, pue=pue) for name in spans
            }
            total = sum(parts.values(), Emission())
            energy_mj = sum(interval.energy_mj for interval in past)
            settle = self._budgets.settle
            if await asyncio.to_thread(settle, record, grams=total.carbon_g, energy_mj=energy_mj, now=now):
                on_released()
            self._known.append(_values(record, parts))
        return len(past) == len(intervals) and not _rests_on_estimates(past, intensity)

    async def _close(self, record: JobRecord, *, now: datetime, on_released: Callable[[], None]) -> None:
        finished = record.state.finished_at
        if finished is None or record.id in self._closed or now - finished < self._to_grid(_LATE_READINGS):
            return
        if await asyncio.to_thread(self._budgets.close, record, now=now):
            on_released()
        self._closed.add(record.id)


def spans_by_region(intervals: Iterable[EnergyInterval]) -> dict[str, tuple[datetime, datetime]]:
    """First start and last end of the intervals in each region."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for interval in intervals:
        start, end = spans.get(interval.region, (interval.start, interval.end))
        spans[interval.region] = (min(start, interval.start), max(end, interval.end))
    return spans


def _ended(intervals: Iterable[EnergyInterval], now: datetime) -> list[EnergyInterval]:
    """Those that are past: an agent's clock may be ahead of ours, and what is to come has no intensity yet."""
    return [interval for interval in intervals if interval.end <= now]


def _rests_on_estimates(intervals: Iterable[EnergyInterval], intensity: Mapping[str, IntensitySeries]) -> bool:
    """Whether intensity is still to come for any of it; energy that an agent had to estimate stays what it is."""
    return any(intensity[i.region].estimated_share(i.start, i.end) > 0 for i in intervals)


def _values(record: JobRecord, parts: Mapping[str, Emission]) -> JobValues:
    """What is known of a job's energy and carbon, by region, as counters take it."""
    values: dict[tuple[str, Quantity], int] = {}
    for region, part in parts.items():
        values[region, Quantity.ENERGY_MJ] = round(part.energy_kwh * MJ_PER_KWH)
        values[region, Quantity.CARBON_UG] = to_ug(part.carbon_g)
    return JobValues(record.id, record.spec.team, record.spec.project, values)
