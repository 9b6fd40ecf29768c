"""Gathers what the advisor looks at: a job's record, its energy by device, realised intensity."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from kilowait_scheduler.advisor.advise import advise
from kilowait_scheduler.advisor.compare import compare
from kilowait_scheduler.advisor.facts import Facts
from kilowait_scheduler.advisor.lever import Kind
from kilowait_scheduler.advisor.shifts import LATER
from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.course import from_us, to_us
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.reports.measured import measured
from kilowait_scheduler.store.repository import Store

from .grid import Grid
from .history import gpu_of
from .realised import realised_by_region

# What a device draws idle is looked for so long before and after the job.
_AROUND = timedelta(days=1)


class Advising:
    """Answers with advice on request; on the clusters' loop because it may have to ask providers."""

    def __init__(self, *, store: Store, grid: Grid, clock: GridClock) -> None:
        self._store, self._grid, self._clock = store, grid, clock

    async def answer(
        self, job: str, *, other: str | None = None, applied: Sequence[Kind] = (), work: float = 1.0
    ) -> dict[str, Any]:
        """Advice on a job, by id or name, as JSON; with `other` also what a later job of its name really saved.

        Raises NotFound, or BadInput where the two cannot be compared.
        """
        notes: list[str] = []
        facts = await self._facts(await asyncio.to_thread(self._store.job, job), notes)
        advice = await asyncio.to_thread(advise, facts, notes=tuple(notes))
        outcome = None
        if other is not None:
            later = await self._facts(await asyncio.to_thread(self._store.job, other), [])
            outcome = asdict(compare(advice, facts, later, work=work, applied=applied))
        return {**asdict(advice), "outcome": outcome}

    async def _facts(self, record: JobRecord, notes: list[str]) -> Facts:
        now = self._clock.now()
        regions = await asyncio.to_thread(self._store.regions)
        held = await asyncio.to_thread(self._store.held, record.id)
        course = held.course.rows(held.course.end_us <= to_us(now))
        first = min([record.submitted_at, *([from_us(int(course.start_us.min()))] if len(course) else [])])
        last = max([record.spec.due + LATER[-1], *([from_us(int(course.end_us.max()))] if len(course) else [])])
        intensity = await realised_by_region(
            self._grid, self._store, regions, start=first, end=min(last, now), now=now, notes=notes
        )
        idle_w = await asyncio.to_thread(
            self._store.idle_power_w, held.devices, start=first - _AROUND, end=min(last, now) + _AROUND
        )
        meters = await asyncio.to_thread(self._store.energy_sources)
        if any("simulated" in meters.get(region, ()) for region in course.used):
            notes.append("Energy comes from the simulated meter: it shows the method, not real consumption.")
        return Facts(
            job=measured([(record, course)])[0],
            held=held.rows(held.course.end_us <= to_us(now)),
            gpu=gpu_of(record, regions),
            idle_w=idle_w,
            regions=regions,
            intensity=intensity,
            now=now,
        )
