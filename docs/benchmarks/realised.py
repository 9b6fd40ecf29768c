"""What plans on wrong forecasts save in truth: restarts, noise, and whether to decide on a quantile of the gain.

One job of 1 kW per run, one region, starts drawn over all zones' records. Many runs are planned as one problem, each
with a pool to itself, by the planner's one door.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from instances import checked

from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.problem import Floats, Plan, Pool, Problem, Task

RESTARTS_H = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
JOBS = ((4, 20), (12, 36), (24, 72))  # hours of work and of slack
NEVER = np.inf  # what a restart is taken to cost where the job must not be split
BATCH = 300  # runs per problem
CAUTIONS = (NEVER, 8.0, 4.0, 2.0, 1.0)  # times the restart's cost, from the most careful plan to the plain one
PATHS, QUANTILE, MEMORY = 100, 0.25, 0.9
# Mean absolute error of the forecast by lead: day 1 to 4 of a good day-ahead model, less in the first hours.
LEADS_H, ERRORS = (0, 12, 36, 60, 84), (0.07, 0.097, 0.124, 0.132, 0.137)


@dataclass(frozen=True)
class Realised:
    """Percent saved against run-now, mean over runs; runs' windows per job; and the runs one by one."""

    saving: float
    segments: float
    each: Floats

    def minus(self, other: Realised) -> tuple[float, float]:
        """(points more than `other`, two standard errors of that)."""
        more = self.each - other.each
        return float(more.mean()), float(2 * more.std(ddof=1) / np.sqrt(len(more)))


def truths(records: dict[str, Floats], *, hours: int, starts: int, seed: int) -> Floats:
    """(zones x starts, hours) of intensity from starts drawn uniformly in each zone's record."""
    rng = np.random.default_rng(seed)
    return np.array(
        [
            record[start : start + hours]
            for record in records.values()
            for start in rng.integers(0, len(record) - hours, starts)
        ]
    )


def planned(grams: Floats, *, work: int, restart_h: float) -> np.ndarray:
    """(runs, hours) whether the job runs, planned on `grams`."""
    runs = np.zeros(grams.shape, dtype=bool)
    for first in range(0, len(grams), BATCH):
        rows = range(first, min(len(grams), first + BATCH))
        made = _plan(grams[rows.start : rows.stop], work=work, restart_h=restart_h)
        for placement in made.placements:
            for segment in placement.segments:
                runs[first + int(placement.task.id), segment.start : segment.end] = True
    assert (runs.sum(axis=1) == work).all()
    return runs


def _plan(grams: Floats, *, work: int, restart_h: float) -> Plan:
    count, hours = grams.shape
    pools = tuple(Pool(str(i), grams[i], np.ones(hours, dtype=np.int64)) for i in range(count))
    split = restart_h < NEVER
    tasks = tuple(
        Task.rigid(
            str(i),
            gpus=1,
            kw_per_gpu=1.0,
            slots=work,
            earliest=0,
            deadline=hours,
            regions=(str(i),),
            suspendable=split,
            restart_kwh=restart_h if split else 0.0,
        )
        for i in range(count)
    )
    problem = Problem(1.0, hours, pools, tasks)
    return checked(plan(problem), problem)


def smallest(grams: Floats, *, work: int) -> np.ndarray:
    """The `work` cleanest hours, wherever they are."""
    runs = np.zeros(grams.shape, dtype=bool)
    np.put_along_axis(runs, np.argsort(grams, axis=1, kind="stable")[:, :work], np.True_, axis=1)
    return runs


def costs(runs: np.ndarray, grams: Floats, *, restart_h: float) -> Floats:
    """Grams per run; `grams` may have more axes in front. The first start is free."""
    resumes = runs & ~np.pad(runs, ((0, 0), (1, 0)))[:, :-1]
    first = np.argmax(runs, axis=1)
    resumes[np.arange(len(runs)), first] = False
    return ((runs + restart_h * resumes) * grams).sum(axis=-1)


def realised(runs: np.ndarray, truth: Floats, *, work: int, restart_h: float) -> Realised:
    base = truth[:, :work].sum(axis=1)
    each = 100 * (1 - costs(runs, truth, restart_h=restart_h) / base)
    segments = (np.diff(np.pad(runs, ((0, 0), (1, 0))).astype(int), axis=1) == 1).sum(axis=1)
    return Realised(float(each.mean()), float(segments.mean()), each)


def independent(shape: tuple[int, ...], rng: np.random.Generator, *, share: float = 0.1) -> Floats:
    """Relative errors, independent from hour to hour."""
    return np.maximum(rng.normal(0, share, shape), -0.8)


def persistent(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Relative errors that grow with the lead and stay alike from hour to hour (AR(1))."""
    hours = shape[-1]
    path = np.empty(shape)
    path[..., 0] = rng.normal(size=shape[:-1])
    for t in range(1, hours):
        path[..., t] = MEMORY * path[..., t - 1] + np.sqrt(1 - MEMORY**2) * rng.normal(size=shape[:-1])
    spread = np.interp(np.arange(hours), LEADS_H, ERRORS) * np.sqrt(np.pi / 2)
    return np.maximum(path * spread, -0.8)


@dataclass(frozen=True)
class RestartRow:
    """Realised by the planner, the best unbroken window and the cleanest hours, on true and on noisy intensity."""

    restart_h: float
    exact: tuple[Realised, Realised, Realised]
    noisy: tuple[Realised, Realised, Realised]


def restart_table(records: dict[str, Floats], *, starts: int, seed: int = 1) -> list[RestartRow]:
    work, slack = 12, 36
    truth = truths(records, hours=work + slack, starts=starts, seed=seed)
    forecast = truth * (1 + independent(truth.shape, np.random.default_rng((seed, 2))))
    unbroken = [planned(grams, work=work, restart_h=NEVER) for grams in (truth, forecast)]
    naive = [smallest(grams, work=work) for grams in (truth, forecast)]
    rows = []
    for restart_h in RESTARTS_H:
        found = []
        for grams, window, hours in zip((truth, forecast), unbroken, naive, strict=True):
            ours = planned(grams, work=work, restart_h=restart_h)
            found.append(tuple(realised(runs, truth, work=work, restart_h=restart_h) for runs in (ours, window, hours)))
        rows.append(RestartRow(restart_h, *found))
    return rows


@dataclass(frozen=True)
class QuantileRow:
    """By policy, realised on truth; `oracle` knows the truth. `cautious`: the gain's quantile must be above 0."""

    work: int
    slack: int
    restart_h: float
    errors: str
    oracle: Realised
    window: Realised
    median: Realised
    doubled: Realised
    cautious: Realised


def quantile_table(
    records: dict[str, Floats], *, starts: int, seed: int = 1, restarts_h: Sequence[float] = (0.1, 0.5)
) -> list[QuantileRow]:
    rows = []
    for work, slack in JOBS:
        truth = truths(records, hours=work + slack, starts=starts, seed=seed)
        for name, model in (("lead-dependent AR(1)", persistent), ("independent 10 %", independent)):
            forecast = truth * (1 + model(truth.shape, np.random.default_rng((seed, 3))))
            for restart_h in restarts_h:
                plans = {caution: planned(forecast, work=work, restart_h=caution * restart_h) for caution in CAUTIONS}
                chosen = plans[NEVER].copy()
                for caution in CAUTIONS[1:]:
                    better = _surely_better(plans[caution], chosen, forecast, model, restart_h=restart_h, seed=seed)
                    chosen[better] = plans[caution][better]
                best = planned(truth, work=work, restart_h=restart_h)
                tried = (best, plans[NEVER], plans[1.0], plans[2.0], chosen)
                judged = [realised(runs, truth, work=work, restart_h=restart_h) for runs in tried]
                rows.append(QuantileRow(work, slack, restart_h, name, *judged))
    return rows


def _surely_better(
    new: np.ndarray, old: np.ndarray, forecast: Floats, model: object, *, restart_h: float, seed: int
) -> np.ndarray:
    """(runs,) whether the quantile of what `new` gains on `old`, over drawn truths of each forecast, is above 0."""
    assert callable(model)
    rng = np.random.default_rng((seed, 4))
    gains = []
    for _ in range(PATHS):
        drawn = forecast / (1 + model(forecast.shape, rng))
        gains.append(costs(old, drawn, restart_h=restart_h) - costs(new, drawn, restart_h=restart_h))
    return np.quantile(np.array(gains), QUANTILE, axis=0) > 0
