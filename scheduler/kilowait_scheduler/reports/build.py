"""Computes a savings report from jobs, their measured energy and realised intensity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.baseline import Baseline, Counterfactual
from kilowait_scheduler.core.carbon import METHOD, MJ_PER_KWH
from kilowait_scheduler.core.clean import METHOD as MARKET_METHOD
from kilowait_scheduler.core.clean import Clean
from kilowait_scheduler.core.course import to_us
from kilowait_scheduler.core.energy import RegionEnergy
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.months import month_of, month_span, zone_of
from kilowait_scheduler.core.reasons import explained
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.savings import SETTLED_AFTER, Case, Savings, savings
from kilowait_scheduler.core.stack import Stack
from kilowait_scheduler.core.state import Phase

from .beside import beside
from .ceiling import Ceiling
from .measured import Measured
from .model import BaselineFigure, By, IntensityTrace, JobLine, Levers, RanWindow, RegionLine, Report
from .sums import groups_of, totals_of
from .units import moment
from .uses import scope2_lines

LEVERS = "levers@1"


def build(
    jobs: Sequence[Measured],
    *,
    baselines: Mapping[str, Counterfactual],
    regions: Sequence[Region],
    intensity: Mapping[str, IntensitySeries],
    energy: Sequence[RegionEnergy],
    meters: Mapping[str, set[str]],
    now: datetime,
    start: datetime,
    end: datetime,
    signal: str,
    team: str | None = None,
    prices: Sequence[CarbonPrice] = (),
    by: By | None = None,
    baseline: Baseline = Baseline.RUN_NOW,
    missing: Mapping[str, str] | None = None,
    ceilings: Mapping[str, Ceiling] | None = None,
    notes: Sequence[str] = (),
    clean: Mapping[str, Clean] = MappingProxyType({}),
    timezone: str = "UTC",
) -> Report:
    """The report on `jobs`, which were submitted in [start, end); of one team's where given.

    `intensity` is realised, by region name. `baselines` are by job id, those of `baseline`, and `missing` says why
    there is none; those that queue are of everyone's queue, so that a job's figures do not depend on the period or the
    team that is asked about. `ceilings`: the jobs' best schedules, by job id.
    """
    integrals = {name: Integral(series) for name, series in intensity.items()}
    jobs = [job for job in jobs if team in (None, job.record.spec.team)]
    jobs = sorted(jobs, key=lambda job: (job.record.submitted_at, job.record.id))
    lines = _lines(
        jobs,
        baselines=baselines,
        missing=missing or {},
        ceilings=ceilings or {},
        name=baseline,
        regions=regions,
        intensity=integrals,
        prices=prices,
        clean=clean,
        now=now,
        timezone=timezone,
    )
    by_region = {line.region: line for line in energy}
    return Report(
        title=_title(start, end, timezone=timezone, team=team),
        generated_at=now,
        start=start,
        end=end,
        signal=signal,
        baseline_name=baseline.value,
        method=(METHOD, baseline.value, LEVERS, *([MARKET_METHOD] if clean else [])),
        jobs=lines,
        totals=totals_of(lines),
        regions=tuple(_region_line(r, by_region.get(r.name), intensity.get(r.name), meters) for r in regions),
        intensity=tuple(
            IntensityTrace(
                region.name,
                region.zone,
                tuple((s.start, s.end, s.g_per_kwh, s.estimated) for s in intensity[region.name].slots),
            )
            for region in regions
            if region.name in intensity
        ),
        notes=tuple(notes),
        by=by,
        groups=groups_of(lines, by, timezone) if by is not None else (),
        scope2=scope2_lines(lines),
        timezone=timezone,
    )


def _title(start: datetime, end: datetime, *, timezone: str, team: str | None) -> str:
    """With the month where the period is one, and whose jobs they are."""
    one = (start, end) == month_span(month_of(start, timezone), timezone)
    when = f", {start.astimezone(zone_of(timezone)):%B %Y}" if one else ""
    return f"Savings report{when}{f', team {team}' if team is not None else ''}"


def _lines(
    jobs: Sequence[Measured],
    *,
    baselines: Mapping[str, Counterfactual],
    missing: Mapping[str, str],
    ceilings: Mapping[str, Ceiling],
    name: Baseline,
    regions: Sequence[Region],
    intensity: Mapping[str, Integral],
    prices: Sequence[CarbonPrice],
    clean: Mapping[str, Clean],
    now: datetime,
    timezone: str,
) -> tuple[JobLine, ...]:
    """A line of each job; all are reckoned in one pass."""
    pue = {region.name: region.pue for region in regions}
    notes: dict[str, str] = {}
    cases: list[tuple[Measured, Case]] = []
    for job in jobs:
        against = baselines.get(job.record.id)
        why_not = missing.get(job.record.id) or _why_not(
            job, against, name=name, known=intensity.keys() & pue.keys(), now=now
        )
        if against is None or why_not:
            notes[job.record.id] = why_not
        else:
            cases.append((job, Case(job.useful, job.overhead, against, job.resized)))
    reckoned: dict[str, tuple[Measured, Savings]] = {}
    for (job, _), found in zip(
        cases, savings([case for _, case in cases], intensity=intensity, pue=pue, baseline_name=name), strict=True
    ):
        if isinstance(found, ForecastersError):
            notes[job.record.id] = f"no figure yet: {found}"
        else:
            reckoned[job.record.id] = job, found
    besides = beside(
        list(reckoned.values()),
        prices=prices,
        regions=regions,
        intensity=intensity,
        clean=clean,
        now=now,
        timezone=timezone,
    )
    fields = dict(zip(reckoned, besides, strict=True))
    lines = []
    for job, measured_pct in zip(jobs, _measured_pct(jobs, now), strict=True):
        job_id = job.record.id
        told = _told(job, now=now) | {"measured_pct": measured_pct, "note": notes.get(job_id, "")}
        against = baselines.get(job_id)
        if against is not None:
            told["baseline_start"] = against.start
        if against is not None and job_id in reckoned:
            figures = reckoned[job_id][1]
            told |= _figures(job, figures, against) | _foresight(job, ceilings.get(job_id), figures) | fields[job_id]
        lines.append(JobLine(**told))
    return tuple(lines)


def _why_not(
    job: Measured, against: Counterfactual | None, *, name: Baseline, known: AbstractSet[str], now: datetime
) -> str:
    """Why a job has no figures (yet); empty where nothing speaks against them, or it has not run."""
    if against is None:
        ran = any(run.started_at for run in job.record.state.runs)
        if len(job.course) and not job.record.state.phase.final and not job.record.state.done_s:
            return "not yet: none of its work is kept so far; the figure comes once it has ended"
        return "no meter readings for this job: is an agent running in its region?" if ran else ""
    if against.end > now:
        later = f"not yet: under {name} its work would go on until {moment(against.end)} UTC"
        return f"{later}; the figure comes once that time has passed"
    unknown = sorted({against.region, *job.course.used} - known)
    if unknown:
        names = f"region{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}"
        return f"no figure yet: no intensity for {names}"
    return ""


def _told(job: Measured, *, now: datetime) -> dict[str, Any]:
    """What a line says of a job without any figures."""
    record, state = job.record, job.record.state
    ran = [run for run in state.runs if run.started_at]
    promise = state.first_promise
    return {
        "id": record.id,
        "name": record.spec.name,
        "team": record.spec.team,
        "project": record.spec.project,
        "state": state.phase.value,
        "home": record.home,
        "gpus": max((record.gpus_of(run) for run in ran), default=record.gpus),
        "submitted_at": record.submitted_at,
        "deadline": record.spec.due,
        "finished_at": state.finished_at,
        "deadline_met": _deadline_met(record, now),
        "runs": len(ran),
        "windows": tuple(RanWindow(run.region, run.started_at, run.ended_at) for run in ran if run.started_at),
        "why": explained(state.reason, state.detail),
        "promised_saved_g": promise.run_now_g - promise.carbon_g if promise is not None else None,
        "final_from": state.finished_at + SETTLED_AFTER if state.finished_at is not None else None,
    }


def _foresight(job: Measured, ceiling: Ceiling | None, figures: Savings) -> dict[str, Any]:
    """The best schedule's saving; how the job ran is a schedule too, if it met its deadline."""
    if ceiling is None:
        return {}
    if ceiling.why_not:
        return {"ceiling_note": ceiling.why_not}
    best_g = min(ceiling.carbon_g, figures.actual.carbon_g) if job.in_time else ceiling.carbon_g
    saved_g, baseline_g = figures.baseline.carbon_g - best_g, figures.baseline.carbon_g
    return {"ceiling_saved_g": saved_g, "ceiling_pct": 100 * saved_g / baseline_g if baseline_g > 0 else None}


def _figures(job: Measured, figures: Savings, against: Counterfactual) -> dict[str, Any]:
    actual = figures.actual
    settled = against.settled and job.record.state.phase.final
    return {
        "energy_kwh": actual.energy_kwh,
        "carbon_g": actual.carbon_g,
        "baseline": BaselineFigure(
            figures.baseline_name, figures.baseline.carbon_g, region=against.region, grounds=against.grounds
        ),
        "saved_g": figures.saved_g,
        "saved_pct": figures.saved_pct,
        "uncertainty_g": figures.uncertainty_g,
        "levers": Levers(
            figures.time_shift_g, figures.region_shift_g, figures.resizing_g, figures.overheads_g, figures.fixed_size_g
        ),
        "provisional": not settled or actual.estimated_g != 0 or figures.baseline.estimated_g != 0,
        "estimated_pct": 100 * actual.estimated_g / actual.carbon_g if actual.carbon_g else 0.0,
    }


def _deadline_met(record: JobRecord, now: datetime) -> bool | None:
    """True or False once it is decided; None while the job may still make it, or was cancelled."""
    finished = record.state.finished_at
    if record.state.phase is Phase.SUCCEEDED and finished is not None:
        return finished <= record.spec.due
    if record.state.phase is Phase.CANCELLED:
        return None
    return False if record.state.phase is Phase.FAILED or now > record.spec.due else None


def _measured_pct(jobs: Sequence[Measured], now: datetime) -> list[float | None]:
    """Share of each job's runs' time for which some device has readings, in percent; None where nothing ran."""
    spans = [
        (number, to_us(run.started_at), to_us(min(run.ended_at or now, now)))
        for number, job in enumerate(jobs)
        for run in job.record.state.runs
        if run.started_at is not None
    ]
    of, start_us, end_us = np.array(spans, dtype=np.int64).reshape(-1, 3).T
    end_us = np.maximum(start_us, end_us)
    measured_us = Stack.of([job.course for job in jobs]).covered_us(start_us, end_us, of)
    ran = np.bincount(of, end_us - start_us, minlength=len(jobs))
    measured = np.bincount(of, measured_us, minlength=len(jobs))
    return [100 * part / whole if whole else None for part, whole in zip(measured.tolist(), ran.tolist(), strict=True)]


def _region_line(
    region: Region, energy: RegionEnergy | None, series: IntensitySeries | None, meters: Mapping[str, set[str]]
) -> RegionLine:
    return RegionLine(
        name=region.name,
        zone=region.zone,
        pue=region.pue,
        meters=tuple(sorted(meters.get(region.name, ()))),
        intensity_sources=series.source if series is not None else "none",
        it_energy_kwh=energy.energy_mj / MJ_PER_KWH if energy else None,
        idle_kwh=energy.idle_mj / MJ_PER_KWH if energy else None,
        unattributed_kwh=energy.unattributed_mj / MJ_PER_KWH if energy else None,
    )
