"""Gathers what a savings report needs: jobs, measured energy, realised intensity; the figures are made in `reports`."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.baseline import Baseline, Counterfactual
from kilowait_scheduler.core.course import Course, from_us
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.months import known_zone, month_span
from kilowait_scheduler.core.policies import HISTORY, POLICIES
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.reports.baselines import (
    LONG_RUN,
    Archive,
    Known,
    by_policy,
    mean_start,
    queue_for,
    run_now,
    static_clean,
)
from kilowait_scheduler.reports.build import build
from kilowait_scheduler.reports.ceiling import ceilings
from kilowait_scheduler.reports.evidence import Evidence
from kilowait_scheduler.reports.measured import Measured, measured
from kilowait_scheduler.reports.model import By, Report
from kilowait_scheduler.reports.progress import Progress
from kilowait_scheduler.store.repository import Store

from .collector import Collector
from .contracted import contracted
from .courses import courses_of
from .grid import Grid
from .realised import realised_by_region

# What was recorded counts as known; sources are asked for so much of the rest before the first job, or for less.
_ASKED_FOR = (timedelta(days=28), HISTORY, timedelta(days=1))
_READ_AT_ONCE = 500  # jobs; whoever waits sees so many done at a time
# A forecast older than this says nothing that a policy would have gone by.
_FORECAST_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Asked:
    """What a report is to be about: jobs submitted in [start, end), by default all; of one team where given.

    `by` puts the jobs together by team, project, region or month; they are compared with `baseline`. Months are those
    of `timezone`.
    """

    start: datetime | None = None
    end: datetime | None = None
    team: str | None = None
    by: By | None = None
    baseline: Baseline = Baseline.RUN_NOW
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        """Raises BadInput where the time zone is none, or the span has no length."""
        try:
            known_zone(self.timezone)
        except ValueError as error:
            raise BadInput(f"timezone: {error}") from None
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise BadInput(f"end: {self.end.isoformat()} is not later than start, {self.start.isoformat()}; swap them?")

    def of_month(self, month: str | None) -> Asked:
        """The same about one month of its time zone, if any is named. Raises BadInput where it has a span already."""
        if month is None:
            return self
        if self.start is not None or self.end is not None:
            raise BadInput("month: it is a span of its own; leave start and end out")
        start, end = month_span(month, self.timezone)
        return replace(self, start=start, end=end)


@dataclass(frozen=True)
class _Compared:
    """Baselines by job id, and why there is none."""

    found: Mapping[str, Counterfactual]
    missing: Mapping[str, str]


class Reporting:
    """Makes reports on request; on the clusters' loop because it may have to ask providers, the work beside it."""

    def __init__(self, *, store: Store, grid: Grid, clock: GridClock) -> None:
        self._store, self._grid, self._clock = store, grid, clock
        self._collector = Collector()
        # Of the reports that are being made, those that somebody watches, by the name that they were given for it.
        self.watched: dict[str, Progress] = {}

    async def savings(self, asked: Asked | None = None, *, progress: Progress | None = None) -> Report:
        """The report alone."""
        return (await self.evidence(asked, progress=progress)).report

    async def evidence(self, asked: Asked | None = None, *, progress: Progress | None = None) -> Evidence:
        """The report and its grounds; `progress` is kept up to date meanwhile."""
        with self._collector.paused():
            return await self._evidence(asked or Asked(), progress or Progress())

    async def _evidence(self, asked: Asked, progress: Progress) -> Evidence:
        now = self._clock.now()
        records = await asyncio.to_thread(self._store.jobs)
        if asked.start is not None and asked.end is None and asked.start > now:
            raise BadInput(f"start: {asked.start.isoformat()} lies ahead; name a time before now, or an end as well")
        stop = asked.end or now
        begin = asked.start or min((record.submitted_at for record in records), default=stop)
        begin = min(begin, stop)  # nothing had been submitted by the end that was asked for
        until = asked.end or max(now, begin + timedelta(seconds=1))
        regions = await asyncio.to_thread(self._store.regions)
        queue = queue_for(records, start=begin, end=until)
        measured = await asyncio.to_thread(self._measured, queue, now, progress)
        jobs = [job for job in measured if begin <= job.record.submitted_at < until]
        worked = {job.record.id: job.worked for job in measured if job.work_known}
        notes: list[str] = []
        compared = await self._queued(asked.baseline, worked, queue=queue, regions=regions, now=now)
        first, last = _span(jobs, compared.found if compared else {}, start=begin, now=now)
        intensity = await realised_by_region(
            self._grid, self._store, regions, start=first, end=last, now=now, notes=notes
        )
        if compared is None:
            if asked.baseline is Baseline.THRESHOLD:
                intensity = await self._with_history(intensity, regions, start=first, now=now, most=HISTORY)
            compared = await asyncio.to_thread(self._policy, asked.baseline, worked, jobs, intensity)
        jobs = [job for job in jobs if asked.team in (None, job.record.spec.team)]
        best = await asyncio.to_thread(ceilings, jobs, regions=regions, intensity=intensity, now=now, progress=progress)
        contracts = await asyncio.to_thread(contracted, self._store, regions, start=first, end=last, now=now)
        notes += contracts.notes(now=now)
        meters = await asyncio.to_thread(self._store.energy_sources)
        if any("simulated" in kinds for kinds in meters.values()):
            notes.append("Energy comes from the simulated meter: it shows the method, not real consumption.")
        if self._clock.speed != 1:
            notes.append(f"A demonstration: the grid clock ran {self._clock.speed:g} times as fast as the wall clock.")
        signals = {str(self._grid.signal_of(region.zone)) for region in regions}
        if len(signals) > 1:
            notes.append(f"Regions have different signals ({', '.join(sorted(signals))}); compare within one only.")
        report = await asyncio.to_thread(
            build,
            jobs,
            baselines=compared.found,
            missing=compared.missing,
            ceilings=best,
            regions=regions,
            intensity=intensity,
            energy=await asyncio.to_thread(self._store.region_energy, start=begin, end=stop),
            meters=meters,
            now=now,
            start=begin,
            end=stop,
            signal=" and ".join(sorted(signals)) or "none",
            team=asked.team,
            prices=await asyncio.to_thread(self._store.carbon_prices),
            by=asked.by,
            baseline=asked.baseline,
            notes=notes,
            clean=contracts.clean,
            timezone=asked.timezone,
        )
        return Evidence(report, jobs, compared.found, best, regions, intensity, contracts)

    def first_submission(self) -> datetime | None:
        """When the first job of all was submitted."""
        return next((record.submitted_at for record in self._store.jobs(limit=1)), None)

    def _measured(self, queue: Sequence[JobRecord], now: datetime, progress: Progress) -> list[Measured]:
        courses: list[Course] = []
        progress.begin("reading energy", len(queue))
        for first in range(0, len(queue), _READ_AT_ONCE):
            some = queue[first : first + _READ_AT_ONCE]
            courses += courses_of(self._store, some, now=now)
            progress.done += len(some)
        return measured(list(zip(queue, courses, strict=True)))

    async def _queued(
        self,
        baseline: Baseline,
        worked: Mapping[str, timedelta],
        *,
        queue: Sequence[JobRecord],
        regions: Sequence[Region],
        now: datetime,
    ) -> _Compared | None:
        """Of the baselines that do not choose by the intensity of the period; None for those that do."""
        match baseline:
            case Baseline.RUN_NOW:
                return _Compared(run_now(worked, queue=queue, regions=regions), {})
            case Baseline.MEAN_START:
                return _Compared(mean_start(worked, queue=queue), {})
            case Baseline.STATIC_CLEAN:
                first = min((record.submitted_at for record in queue), default=now)
                last = max((record.submitted_at for record in queue), default=now)
                since = await realised_by_region(
                    self._grid, self._store, regions, start=first, end=last, now=now, notes=[]
                )
                since = await self._with_history(since, regions, start=first, now=now, most=LONG_RUN)
                return _Compared(static_clean(worked, queue=queue, regions=regions, intensity=since), {})
        return None

    async def _with_history(
        self,
        known: Mapping[str, IntensitySeries],
        regions: Sequence[Region],
        *,
        start: datetime,
        now: datetime,
        most: timedelta,
    ) -> dict[str, IntensitySeries]:
        """`known`, with what was known at `start` of the time before, at most so long."""
        found = dict(known)
        for region in regions:
            signal, before = self._grid.signal_of(region.zone), []
            kept = await asyncio.to_thread(
                self._store.realised, region.zone, signal=signal, start=start - most, end=start
            )
            for span in [span for span in _ASKED_FOR if span <= most]:
                try:
                    before.append(await self._grid.realised(region.zone, start=start - span, end=start, now=now))
                    break
                except ForecastersError:
                    continue  # less of it may be known
            for series in (*before, *([] if kept is None else [kept])):
                found[region.name] = found[region.name].extended(series) if region.name in found else series
        return found

    def _policy(
        self,
        baseline: Baseline,
        worked: Mapping[str, timedelta],
        jobs: Sequence[Measured],
        intensity: Mapping[str, IntensitySeries],
    ) -> _Compared:
        found, missing = by_policy(
            worked,
            queue=[job.record for job in jobs],
            policy=POLICIES[baseline],
            forecasts=baseline is not Baseline.THRESHOLD,
            intensity=intensity,
            archive=self._archive(jobs),
        )
        return _Compared(found, missing)

    def _archive(self, jobs: Sequence[Measured]) -> Archive:
        zones = {region.name: region.zone for region in self._store.regions()}
        submitted = [job.record.submitted_at for job in jobs]
        index: dict[str, list[tuple[datetime, int]]] = {}
        last: dict[str, tuple[int, Known]] = {}

        def known(record: JobRecord) -> Known | None:
            zone = zones.get(record.home)
            if zone is None:
                return None
            if zone not in index:
                span = {"start": min(submitted) - _FORECAST_AGE, "end": max(submitted)}
                index[zone] = self._store.forecast_numbers(zone, signal=self._grid.signal_of(zone), **span)
            place = bisect_right(index[zone], record.submitted_at, key=lambda one: one[0]) - 1
            if place < 0 or record.submitted_at - index[zone][place][0] > _FORECAST_AGE:
                return None
            number = index[zone][place][1]
            if zone not in last or last[zone][0] != number:  # jobs come in order, mostly
                last[zone] = number, Known(*self._store.forecast(number))
            return last[zone][1]

        return known


def _span(
    jobs: Sequence[Measured], baselines: Mapping[str, Counterfactual], *, start: datetime, now: datetime
) -> tuple[datetime, datetime]:
    """What intensity has to be known for: the jobs' energy, their windows and their baselines, as far as it is past.

    From `start` on where there is no job, and else from no earlier than any of them needs it.
    """
    courses = [job.course for job in jobs if len(job.course)]
    begins = [from_us(int(course.start_us.min())) for course in courses]  # a meter's interval may begin before a job
    ends = [from_us(int(course.end_us.max())) for course in courses]
    for job in jobs:
        ready = max(job.record.submitted_at, job.record.spec.earliest or job.record.submitted_at)
        begins.append(ready)
        ends += [job.record.spec.due, ready + job.worked]
        if job.record.id in baselines:
            begins.append(baselines[job.record.id].start)
            ends.append(baselines[job.record.id].end)
    first = min(begins, default=start)
    return first, min(max([first, *ends]), now)
