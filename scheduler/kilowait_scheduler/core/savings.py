"""Savings = baseline - actual, per job, split into levers that add up exactly.

    time shift   = baseline - (the useful work when it really ran, but in the baseline's region)
    region shift = (the useful work when it really ran, in the baseline's region) - (the same where it really ran)
    resizing     = (the useful work when and where it really ran, on the baseline's GPUs) - (on those it really had)
    overheads    = -(carbon of restarts and of waiting for checkpoints)

Time and region shift are of the work on the baseline's number of GPUs: of jobs of one size, as it was measured.

Negative values stand as they are. See docs/method.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from .baseline import Baseline, Counterfactual, laid, mean_start_emissions
from .carbon import Emission
from .course import Course, Integral, emission_of, to_us
from .state import Run, RunPhase

# Providers settle their history within days: a job is settled again, and may be corrected, for so long after its end.
SETTLED_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Resized:
    """The useful work of an elastic job on the baseline's number of GPUs: `there`, when it was really done, and
    `through`, without pauses; and on its best one number, `best`, when it was really done."""

    there: Course
    through: Course
    best: Course


@dataclass(frozen=True)
class Savings:
    """One job's figures, all in grams CO2e except energy; `saved_g` is the sum of the four levers.

    `fixed_size_g`: the part of `resizing_g` that another number of GPUs throughout would have brought as well.
    `meter_share`: the meter's error as a share of the energy.
    """

    baseline_name: str
    baseline: Emission
    actual: Emission
    time_shift_g: float
    region_shift_g: float
    overheads_g: float
    resizing_g: float = 0.0
    fixed_size_g: float = 0.0
    meter_share: float = 0.0

    @property
    def saved_g(self) -> float:
        return self.baseline.carbon_g - self.actual.carbon_g

    @property
    def saved_pct(self) -> float | None:
        """Saved share of the baseline in percent; None where the baseline is not positive."""
        return 100 * self.saved_g / self.baseline.carbon_g if self.baseline.carbon_g > 0 else None

    @property
    def uncertainty_g(self) -> float:
        """Half width of the interval around `saved_g`: the meter's error, which scales baseline and actual alike, plus
        everything that rests on estimated intensity on either side. A cautious bound, not a confidence level. Where
        the actual carbon is zero, the meter's error is that of the energy."""
        actual = self.actual
        share = actual.meter_uncertainty_g / abs(actual.carbon_g) if actual.carbon_g else self.meter_share
        estimated = 0.1 * (abs(self.baseline.estimated_g) + abs(self.actual.estimated_g))
        return abs(self.saved_g) * share + estimated


def useful_and_overhead(course: Course, *, runs: Sequence[Run], restart_s: float) -> tuple[Course, Course]:
    """Energy that went into the work, and energy that only being carbon-aware (or a failure) cost.

    Overhead are the first `restart_s` seconds of every run after the first that began, the time between a stop signal
    and the end of a run that did not succeed all the same, and work that no checkpoint held and a later run has to do
    again. The two add up to the course exactly.
    """
    spans: list[tuple[datetime, datetime]] = []
    first = min((run.n for run in runs if run.started_at is not None), default=0)
    last = max((run.n for run in runs), default=0)
    for run in runs:
        if run.started_at is None:
            continue
        if run.n > first:
            spans.append((run.started_at, run.started_at + timedelta(seconds=restart_s)))
        in_vain = run.phase is not RunPhase.SUCCEEDED  # the work after a stop signal, if it did not end the job
        if in_vain and run.stop_wanted_at is not None and run.ended_at is not None:
            spans.append((run.stop_wanted_at, run.ended_at))
        if run.n < last and run.kept_until is not None and run.ended_at is not None:
            spans.append((run.kept_until, run.ended_at))
    bounds = [(to_us(start), to_us(end)) for start, end in spans if end > start]
    pieces = course.split(edge for span in bounds for edge in span)
    lost = np.zeros(len(pieces), dtype=np.bool_)
    for start_us, end_us in bounds:
        lost |= (pieces.start_us >= start_us) & (pieces.end_us <= end_us)
    return pieces.rows(~lost), pieces.rows(lost)


def savings(
    *,
    useful: Course,
    overhead: Course,
    against: Counterfactual,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    baseline_name: Baseline = Baseline.RUN_NOW,
    resized: Resized | None = None,
) -> Savings:
    """Savings of one job against the same useful work done as `against` says, of an elastic job as it is `resized`.

    Raises the series' Gap or OutOfRange where realised values are missing.
    """
    useful = useful.sorted()  # baseline and actual are summed in one order, so that equal work gives equal grams
    worked = emission_of(useful, intensity=intensity, pue=pue)
    lost = emission_of(overhead, intensity=intensity, pue=pue)
    there = against.region
    alike = useful if resized is None else resized.there.sorted()
    same = worked if resized is None else emission_of(alike, intensity=intensity, pue=pue)
    best = same if resized is None else emission_of(resized.best, intensity=intensity, pue=pue)
    moved = laid(
        useful if resized is None else resized.through, [(there, start, end) for start, end in against.windows]
    )
    baseline = mean_start_emissions(moved, slack=against.slack, intensity=intensity[there], pue=pue[there])
    at_home = same if alike.used == (there,) else emission_of(alike.at(there), intensity=intensity, pue=pue)
    return Savings(
        baseline_name=baseline_name,
        baseline=baseline,
        actual=worked + lost,
        time_shift_g=baseline.carbon_g - at_home.carbon_g,
        region_shift_g=at_home.carbon_g - same.carbon_g,
        overheads_g=-lost.carbon_g,
        resizing_g=same.carbon_g - worked.carbon_g,
        fixed_size_g=same.carbon_g - best.carbon_g,
        meter_share=_meter_share(useful, overhead),
    )


def _meter_share(*courses: Course) -> float:
    """The meter's error as a share of all energy; 0 where there is none."""
    whole = sum(int(course.energy_mj.sum()) for course in courses)
    error = sum(float((course.energy_mj * course.uncertainty_pct).sum()) for course in courses) / 100
    return error / whole if whole else 0.0
