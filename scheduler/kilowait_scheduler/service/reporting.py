"""Gathers what a savings report needs: jobs, measured energy, realised intensity; the figures are made in `reports`."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.reports.build import Counterfactual, build, mean_start, queue_for, run_now
from kilowait_scheduler.reports.evidence import Evidence
from kilowait_scheduler.reports.measured import Measured
from kilowait_scheduler.reports.model import By, Report
from kilowait_scheduler.store.repository import Store

from .grid import Grid


class Reporting:
    """Makes reports on request; runs on the clusters' loop because it may have to ask providers."""

    def __init__(self, *, store: Store, grid: Grid, clock: GridClock) -> None:
        self._store, self._grid, self._clock = store, grid, clock

    async def savings(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        team: str | None = None,
        by: By | None = None,
        baseline: Baseline = Baseline.RUN_NOW,
    ) -> Report:
        """The report alone."""
        return (await self.evidence(start=start, end=end, team=team, by=by, baseline=baseline)).report

    async def evidence(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        team: str | None = None,
        by: By | None = None,
        baseline: Baseline = Baseline.RUN_NOW,
    ) -> Evidence:
        """The report on jobs submitted in [start, end), of one team where given, by default all; and its grounds.

        `by` puts the jobs together by team, project, region or month; they are compared with `baseline`.
        """
        now = self._clock.now()
        records = await asyncio.to_thread(self._store.jobs)
        begin = start or min((record.submitted_at for record in records), default=now)
        stop = end or now
        until = max(stop, begin + timedelta(seconds=1))
        regions = await asyncio.to_thread(self._store.regions)
        queue = queue_for(records, start=begin, end=until)
        jobs, worked = [], {}
        for record in queue:
            intervals = await asyncio.to_thread(self._store.job_energy, record.id)
            job = Measured(record, tuple(interval for interval in intervals if interval.end <= now))
            worked[record.id] = job.worked
            if begin <= record.submitted_at < until:
                jobs.append(job)
        match baseline:
            case Baseline.RUN_NOW:
                baselines = run_now(worked, queue=queue, regions=regions)
            case Baseline.MEAN_START:
                baselines = mean_start(worked, queue=queue)
        return await self._evidence(
            jobs,
            baselines=baselines,
            regions=regions,
            now=now,
            start=begin,
            end=stop,
            team=team,
            by=by,
            baseline=baseline,
        )

    async def _evidence(
        self,
        jobs: list[Measured],
        *,
        baselines: dict[str, Counterfactual],
        regions: list[Region],
        now: datetime,
        start: datetime,
        end: datetime,
        team: str | None,
        by: By | None,
        baseline: Baseline,
    ) -> Evidence:
        last = max((interval.end for job in jobs for interval in job.intervals), default=now)
        # The baseline may work earlier or later than the job did; a meter's interval may begin before its job.
        compared = [baselines[job.record.id].end for job in jobs if job.record.id in baselines]
        first = min((interval.start for job in jobs for interval in job.intervals), default=start)
        until = max(last, *(done for done in compared if done <= now), start)
        intensity, notes = await self._intensity(regions, start=min(first, start), end=min(until, now), now=now)
        meters = await asyncio.to_thread(self._store.energy_sources)
        if any("simulated" in kinds for kinds in meters.values()):
            notes.append("Energy comes from the simulated meter: it shows the method, not real consumption.")
        if self._clock.speed != 1:
            notes.append(f"A demonstration: the grid clock ran {self._clock.speed:g} times as fast as the wall clock.")
        signals = {str(self._grid.signal_of(region.zone)) for region in regions}
        if len(signals) > 1:
            notes.append(f"Regions have different signals ({', '.join(sorted(signals))}); compare within one only.")
        report = build(
            jobs,
            baselines=baselines,
            regions=regions,
            intensity=intensity,
            energy=await asyncio.to_thread(self._store.region_energy, start=start, end=end),
            meters=meters,
            now=now,
            start=start,
            end=end,
            signal=" and ".join(sorted(signals)) or "none",
            team=team,
            prices=await asyncio.to_thread(self._store.carbon_prices),
            by=by,
            baseline=baseline,
            notes=notes,
        )
        return Evidence(report, jobs, baselines, regions, intensity)

    async def _intensity(
        self, regions: list[Region], *, start: datetime, end: datetime, now: datetime
    ) -> tuple[dict[str, IntensitySeries], list[str]]:
        found: dict[str, IntensitySeries] = {}
        notes: list[str] = []
        for region in regions if end > start else []:
            try:
                found[region.name] = await self._grid.realised(region.zone, start=start, end=end, now=now)
            except ForecastersError as error:
                # One hour that nobody knows must not take the settled figures of all others with it.
                notes.append(f"{region.name}: {error}")
                signal = self._grid.signal_of(region.zone)
                kept = await asyncio.to_thread(self._store.realised, region.zone, signal=signal, start=start, end=end)
                if kept is not None:
                    found[region.name] = kept
                continue
            share = found[region.name].estimated_share(start, end)
            if share > 0:
                source = found[region.name].source
                notes.append(
                    f"{region.name}: {100 * share:.0f} % of the intensity of {region.zone} is estimated ({source})."
                )
        return found, notes
