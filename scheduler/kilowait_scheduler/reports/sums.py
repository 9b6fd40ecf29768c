"""Sums over the lines of a report, and over those of one team, project, region or month."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from kilowait_scheduler.core.money import totals
from kilowait_scheduler.core.months import month_of
from kilowait_scheduler.core.ranges import summed

from .model import By, Foresight, Group, JobLine, Levers, Totals
from .uses import market_based_of, matched_of, regions_of

NOT_RUN = "not run yet"


def totals_of(lines: Sequence[JobLine]) -> Totals:
    full = [line for line in lines if line.carbon_g is not None and line.baseline is not None]
    levers = [line.levers for line in full if line.levers is not None]
    baseline = sum(line.baseline.carbon_g for line in full if line.baseline is not None)
    saved = sum(line.saved_g or 0.0 for line in full)
    uses = [use for line in full for use in line.uses]
    matched_kwh, matched_pct = matched_of(uses)
    return Totals(
        jobs=len(lines),
        without_figures=len(lines) - len(full),
        energy_kwh=sum(line.energy_kwh or 0.0 for line in full),
        carbon_g=sum(line.carbon_g or 0.0 for line in full),
        baseline_g=baseline,
        saved_g=saved,
        saved_pct=100 * saved / baseline if baseline > 0 else None,
        uncertainty_g=sum(line.uncertainty_g or 0.0 for line in full),
        market_based=market_based_of(uses),
        hourly_matched_kwh=matched_kwh,
        hourly_matched_pct=matched_pct,
        embodied_g=summed(line.embodied_g for line in full),
        sci_g_per_gpu_h=_sci(full),
        foresight=_foresight(full),
        final_from=_last(line.final_from for line in lines),
        energy_cost=totals(line.energy_cost for line in full) if all(line.energy_cost for line in full) else (),
        carbon_cost=totals(line.carbon_cost for line in full),
        levers=Levers(
            sum(lever.time_shift_g for lever in levers),
            sum(lever.region_shift_g for lever in levers),
            sum(lever.resizing_g for lever in levers),
            sum(lever.overheads_g for lever in levers),
            sum(lever.fixed_size_g for lever in levers),
        ),
    )


def groups_of(lines: Sequence[JobLine], by: By, timezone: str = "UTC") -> tuple[Group, ...]:
    """Every line in one group, so that the groups add up to the report."""
    found: dict[str, list[JobLine]] = {}
    for line in lines:
        found.setdefault(_group_of(line, by, timezone), []).append(line)
    return tuple(Group(name, totals_of(found[name])) for name in sorted(found))


def _group_of(line: JobLine, by: By, timezone: str) -> str:
    match by:
        case By.TEAM:
            return line.team
        case By.PROJECT:
            return line.project
        case By.REGION:
            return " → ".join(regions_of(line)) or NOT_RUN
        case By.MONTH:
            return month_of(line.submitted_at, timezone)


def _sci(full: Sequence[JobLine]) -> float | None:
    """Of all jobs together: what was emitted for work that was lost counts in full."""
    grams = useful_h = 0.0
    for line in full:
        if line.carbon_g is None or line.embodied_g is None or line.useful_gpu_h is None:
            return None
        grams += line.carbon_g + line.embodied_g.mid
        useful_h += line.useful_gpu_h
    return grams / useful_h if useful_h else None


def _foresight(full: Sequence[JobLine]) -> Foresight | None:
    """None where no job that has ended has all three figures."""
    known = [
        (line.baseline.carbon_g, line.promised_saved_g, line.saved_g, line.ceiling_saved_g)
        for line in full
        if line.finished_at is not None
        and line.baseline is not None
        and line.promised_saved_g is not None
        and line.saved_g is not None
        and line.ceiling_saved_g is not None
    ]
    if not known:
        return None
    baseline, promised, saved, ceiling = (sum(figures) for figures in zip(*known, strict=True))
    pct = 100 * ceiling / baseline if baseline > 0 else None
    return Foresight(len(known), baseline, promised, saved, ceiling, pct)


def _last(moments: Iterable[datetime | None]) -> datetime | None:
    """The latest; None where there is none, or one is not known yet."""
    found = list(moments)
    known = [moment for moment in found if moment is not None]
    return max(known) if known and len(known) == len(found) else None
