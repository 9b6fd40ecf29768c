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
from datetime import timedelta

from kilowait_forecasters.errors import ForecastersError

from .baseline import Baseline, Counterfactual, laid, mean_start_emissions
from .carbon import Emission
from .course import Course
from .integral import Integral, emissions_of
from .stack import Stack

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


@dataclass(frozen=True)
class Case:
    """A job's work and what was lost on top, and what a baseline would have done; `resized` of an elastic job."""

    useful: Course
    overhead: Course
    against: Counterfactual
    resized: Resized | None = None


def savings(
    cases: Sequence[Case],
    *,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    baseline_name: Baseline = Baseline.RUN_NOW,
) -> list[Savings | ForecastersError]:
    """Savings of each case against the same useful work done as its baseline says, of an elastic job as it is resized.

    Where realised values are missing, the series' Gap or OutOfRange stands in their place.
    """

    def emitted(courses: Stack) -> list[Emission | ForecastersError]:
        return emissions_of(courses, intensity=intensity, pue=pue)

    # Baseline and actual are summed in one order, so that equal work gives equal grams.
    useful = Stack.of([case.useful for case in cases]).sorted()
    worked, lost = emitted(useful), emitted(Stack.of([case.overhead for case in cases]))
    alike, through, same, best = useful, useful, worked, worked
    if any(case.resized is not None for case in cases):
        sizes = [case.resized or Resized(case.useful, case.useful, case.useful) for case in cases]
        alike, through = (Stack.of([getattr(size, which) for size in sizes]).sorted() for which in ("there", "through"))
        same, best = emitted(alike), emitted(Stack.of([size.best for size in sizes]).sorted())
    regions = [case.against.region for case in cases]
    moved = laid(
        through, [[(name, *span) for span in case.against.windows] for name, case in zip(regions, cases, strict=True)]
    )
    baseline = emitted(moved)
    for number in [number for number, case in enumerate(cases) if case.against.slack]:
        baseline[number] = _mean_start(
            moved.course(number),
            slack=cases[number].against.slack,
            intensity=intensity[regions[number]],
            pue=pue[regions[number]],
        )
    at_home = emitted(alike.placed(regions))
    return [
        _split(case, *figures, name=baseline_name)
        for case, *figures in zip(cases, worked, lost, same, best, baseline, at_home, strict=True)
    ]


def _mean_start(course: Course, *, slack: timedelta, intensity: Integral, pue: float) -> Emission | ForecastersError:
    try:
        return mean_start_emissions(course, slack=slack, intensity=intensity, pue=pue)
    except ForecastersError as error:
        return error


def _split(case: Case, *figures: Emission | ForecastersError, name: Baseline) -> Savings | ForecastersError:
    """`figures`: of the work, what was lost, the work on the baseline's and the best size, the baseline, the work at
    home."""
    known = []
    for figure in figures:
        if isinstance(figure, ForecastersError):
            return figure
        known.append(figure)
    worked, lost, same, best, baseline, at_home = known
    return Savings(
        baseline_name=name,
        baseline=baseline,
        actual=worked + lost,
        time_shift_g=baseline.carbon_g - at_home.carbon_g,
        region_shift_g=at_home.carbon_g - same.carbon_g,
        overheads_g=-lost.carbon_g,
        resizing_g=same.carbon_g - worked.carbon_g,
        fixed_size_g=same.carbon_g - best.carbon_g,
        meter_share=_meter_share(case.useful, case.overhead),
    )


def _meter_share(*courses: Course) -> float:
    """The meter's error as a share of all energy; 0 where there is none."""
    whole = sum(int(course.energy_mj.sum()) for course in courses)
    error = sum(float((course.energy_mj * course.uncertainty_pct).sum()) for course in courses) / 100
    return error / whole if whole else 0.0
