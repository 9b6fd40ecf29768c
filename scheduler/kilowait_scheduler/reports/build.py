"""Computes a savings report from jobs, their measured energy and realised intensity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.baseline import Baseline, Counterfactual
from kilowait_scheduler.core.carbon import METHOD, MJ_PER_KWH
from kilowait_scheduler.core.clean import METHOD as MARKET_METHOD
from kilowait_scheduler.core.clean import Clean
from kilowait_scheduler.core.course import Course, Integral, from_us
from kilowait_scheduler.core.energy import RegionEnergy
from kilowait_scheduler.core.money import CarbonPrice, price_of
from kilowait_scheduler.core.reasons import explained
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.savings import SETTLED_AFTER, Savings, savings
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
) -> Report:
    """The report on `jobs`, which were submitted in [start, end); of one team's where given.

    `intensity` is realised, by region name. `baselines` are by job id, those of `baseline`, and `missing` says why
    there is none; those that queue are of everyone's queue, so that a job's figures do not depend on the period or the
    team that is asked about. `ceilings`: the jobs' best schedules, by job id.
    """
    pue = {region.name: region.pue for region in regions}
    integrals = {name: Integral(series) for name, series in intensity.items()}
    jobs = [job for job in jobs if team in (None, job.record.spec.team)]
    tariffs = {region.name: region.tariff for region in regions}
    lines = tuple(
        beside(
            _line(
                job,
                baselines.get(job.record.id),
                missing=(missing or {}).get(job.record.id),
                ceiling=(ceilings or {}).get(job.record.id),
                name=baseline,
                intensity=integrals,
                pue=pue,
                now=now,
            ),
            job,
            price=price_of(prices, project=job.record.spec.project, at=job.record.submitted_at),
            tariffs=tariffs,
            gpu_types={region.name: region.gpu_type for region in regions},
            pue=pue,
            intensity=integrals,
            clean=clean,
            now=now,
        )
        for job in sorted(jobs, key=lambda job: (job.record.submitted_at, job.record.id))
    )
    by_region = {line.region: line for line in energy}
    return Report(
        title="Savings report",
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
        groups=groups_of(lines, by) if by is not None else (),
        scope2=scope2_lines(lines),
    )


def _line(
    job: Measured,
    baseline: Counterfactual | None,
    *,
    missing: str | None,
    ceiling: Ceiling | None,
    name: Baseline,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    now: datetime,
) -> JobLine:
    record, state = job.record, job.record.state
    base = JobLine(
        id=record.id,
        name=record.spec.name,
        team=record.spec.team,
        project=record.spec.project,
        state=state.phase.value,
        home=record.home,
        gpus=max((record.gpus_of(run) for run in state.runs if run.started_at), default=record.gpus),
        submitted_at=record.submitted_at,
        deadline=record.spec.due,
        finished_at=state.finished_at,
        deadline_met=_deadline_met(record, now),
        runs=len([run for run in state.runs if run.started_at]),
        windows=tuple(RanWindow(run.region, run.started_at, run.ended_at) for run in state.runs if run.started_at),
        why=explained(state.reason, state.detail),
        promised_saved_g=(
            state.first_promise.run_now_g - state.first_promise.carbon_g if state.first_promise is not None else None
        ),
        measured_pct=_measured_pct(job, now),
        final_from=state.finished_at + SETTLED_AFTER if state.finished_at is not None else None,
    )
    if baseline is None:
        note = (
            missing or ""
            if missing or not base.runs
            else "no meter readings for this job: is an agent running in its region?"
        )
        return _with(base, note=note)
    base = _with(base, baseline_start=baseline.start)
    if baseline.end > now:
        later = f"not yet: under {name} its work would go on until {moment(baseline.end)} UTC"
        return _with(base, note=f"{later}; the figure comes once that time has passed")
    useful, overhead = job.useful_and_overhead
    unknown = sorted({baseline.region, *job.course.used} - (intensity.keys() & pue.keys()))
    if unknown:
        names = f"region{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}"
        return _with(base, note=f"no figure yet: no intensity for {names}")
    try:
        figures = savings(
            useful=useful,
            overhead=overhead,
            against=baseline,
            intensity=intensity,
            pue=pue,
            baseline_name=name,
            resized=job.resized,
        )
    except ForecastersError as error:
        return _with(base, note=f"no figure yet: {error}")
    settled = baseline.settled and record.state.phase.final and _measured(figures)
    base = _with(base, **_figures(figures, baseline), provisional=not settled)
    return _with(base, **_foresight(job, ceiling, figures, intensity=intensity, pue=pue)) if ceiling else base


def _foresight(
    job: Measured,
    ceiling: Ceiling,
    figures: Savings,
    *,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
) -> dict[str, object]:
    """The best schedule's saving; how the job ran is a schedule too, if it met its deadline."""
    if ceiling.why_not:
        return {"ceiling_note": ceiling.why_not}
    best_g = ceiling.carbon_g(job, intensity=intensity, pue=pue)
    if job.in_time:
        best_g = min(best_g, figures.actual.carbon_g)
    saved_g, baseline_g = figures.baseline.carbon_g - best_g, figures.baseline.carbon_g
    return {"ceiling_saved_g": saved_g, "ceiling_pct": 100 * saved_g / baseline_g if baseline_g > 0 else None}


def _figures(figures: Savings, against: Counterfactual) -> dict[str, object]:
    actual = figures.actual
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
        "estimated_pct": 100 * actual.estimated_g / actual.carbon_g if actual.carbon_g else 0.0,
    }


def _with(line: JobLine, **changes: object) -> JobLine:
    return JobLine(**{**vars(line), **changes})


def _measured(figures: Savings) -> bool:
    return figures.actual.estimated_g == 0 and figures.baseline.estimated_g == 0


def _deadline_met(record: JobRecord, now: datetime) -> bool | None:
    """True or False once it is decided; None while the job may still make it, or was cancelled."""
    finished = record.state.finished_at
    if record.state.phase is Phase.SUCCEEDED and finished is not None:
        return finished <= record.spec.due
    if record.state.phase is Phase.CANCELLED:
        return None
    return False if record.state.phase is Phase.FAILED or now > record.spec.due else None


def _measured_pct(job: Measured, now: datetime) -> float | None:
    """Share of the runs' time for which some device has readings, in percent; None where nothing ran."""
    ran = measured = timedelta(0)
    merged = _merged(job.course)
    for run in job.record.state.runs:
        if run.started_at is None:
            continue
        begin, end = run.started_at, min(run.ended_at or now, now)
        ran += max(end - begin, timedelta(0))
        measured += sum((max(timedelta(0), min(e, end) - max(s, begin)) for s, e in merged), timedelta(0))
    return 100 * measured / ran if ran else None


def _merged(course: Course) -> list[tuple[datetime, datetime]]:
    """The spans of which there are readings, without overlaps."""
    if not len(course):
        return []
    ordered = course.sorted()
    reach = np.maximum.accumulate(ordered.end_us)
    begins = np.concatenate(([True], ordered.start_us[1:] > reach[:-1]))
    ends = np.concatenate((begins[1:], [True]))
    pairs = zip(ordered.start_us[begins].tolist(), reach[ends].tolist(), strict=True)
    return [(from_us(start), from_us(end)) for start, end in pairs]


def _region_line(
    region: Region, energy: RegionEnergy | None, series: IntensitySeries | None, meters: Mapping[str, set[str]]
) -> RegionLine:
    return RegionLine(
        name=region.name,
        zone=region.zone,
        pue=region.pue,
        meters=tuple(sorted(meters.get(region.name, ()))),
        intensity_sources=series.source if series is not None else "none",
        it_energy_kwh=(energy.energy_mj if energy else 0) / MJ_PER_KWH,
        idle_kwh=(energy.idle_mj if energy else 0) / MJ_PER_KWH,
        unattributed_kwh=(energy.unattributed_mj if energy else 0) / MJ_PER_KWH,
    )
