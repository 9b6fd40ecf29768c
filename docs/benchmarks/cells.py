"""Everything measured on one instance: our plan, what others would do with the same jobs, and the parts' times."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from instances import Spec, checked, instance, noisy, plan_of, traces, utilisation

from kilowait_scheduler.planner import kernels, sweeps
from kilowait_scheduler.planner.arrays import Arrays, arrays_of
from kilowait_scheduler.planner.joint import Start, plan
from kilowait_scheduler.planner.prices import LocalRound, ascend
from kilowait_scheduler.planner.problem import Floats, Plan, Problem
from kilowait_scheduler.planner.rows import placement_of
from kilowait_scheduler.planner.search import Search

T = TypeVar("T")
ROUNDS, NOISE = 30, 0.03


def timed(work: Callable[[], T], *, times: int = 1) -> tuple[T, float]:
    """(what it gives, median seconds)."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        made = work()
        took.append(time.perf_counter() - begin)
    return made, statistics.median(took)


@dataclass(frozen=True)
class Warm:
    """A plan of the perturbed instance started from the plan of the unperturbed one, against one from nothing."""

    seconds: float
    gap: float
    placed: int
    cold_seconds: float
    cold_gap: float
    cold_placed: int


@dataclass(frozen=True)
class Cell:
    """Seconds, percent, GiB and kg. Savings are of the jobs that both that plan and run-now place."""

    spec: Spec
    util: float
    placed: int
    gap: float
    seconds: float
    lower_bound: float
    peak_gib: float
    first_seconds: float  # until the first valid plan
    first_placed: int
    first_gap: float
    saving: float
    now_placed: int
    arrival_placed: int
    arrival_saving: float
    arrival_seconds: float
    ratio: float  # our carbon over the arrival order's, all that each places
    ratio_common: float  # the same over the jobs that both place
    round_seconds: float
    insert_seconds: float
    warm: Warm | None


def warm_up() -> None:
    """Have the kernels compiled, or read from their cache, before anything is timed."""
    problem = instance(Spec(100, 0.6, 1, "few", movable=True, regions=3), _synthetic())
    plan(problem)
    plan(instance(Spec(100, 0.6, 1, "few", regions=3), _synthetic()))


def _synthetic() -> dict[str, Floats]:
    hours = np.arange(400)
    return {f"r{i}": 300 + 100 * i + 80 * np.sin(hours / 24 * 2 * np.pi + i) for i in range(3)}


def run_now(problem: Problem, p: Arrays) -> Plan:
    """At home, in order of arrival, unbroken, as soon as the GPUs are there; left out where that is too late."""
    free = p.cap.copy()
    where = np.full((len(problem.tasks), problem.slots), -1, dtype=np.int16)
    for j in np.lexsort((np.arange(len(p.first)), p.first)).tolist():
        pool, work, gpus = int(p.pair_pool[p.pair_at[j]]), int(p.work[j]), int(p.size_gpus[p.size_at[j]])
        for start in range(int(p.first[j]), int(p.last[j]) - work + 1):
            if (free[pool, start : start + work] >= gpus).all():
                free[pool, start : start + work] -= gpus
                where[j, start : start + work] = pool
                break
    return _plan_of(problem, p, where)


def inserted(problem: Problem, order: np.ndarray) -> tuple[Plan, Search, float]:
    """Each job of `order` at its cheapest in what the earlier ones left, exactly, capacity hard; seconds of that."""
    search = Search(problem, seed=1)
    search.prepare()
    price = np.zeros(search.p.cap.shape)
    _, seconds = timed(lambda: sweeps.insert(search.p, search.work, order, price, 0.0, search.view))
    return checked(search.made({}, bound=0.0, prices=None), problem), search, seconds


def _plan_of(problem: Problem, p: Arrays, where: np.ndarray) -> Plan:
    size = np.zeros(problem.slots, dtype=np.int8)
    rows = np.flatnonzero((where >= 0).any(axis=1))
    return plan_of([placement_of(problem, p, int(j), where[j], size) for j in rows], problem)


def _saving(made: Plan, base: Plan) -> float:
    """Percent of the base's carbon, over the jobs that both place."""
    ours, theirs = _common(made, base)
    return 100 * (1 - ours / theirs)


def _common(one: Plan, other: Plan) -> tuple[float, float]:
    first = {placement.task.id: placement.carbon_g for placement in one.placements}
    second = {placement.task.id: placement.carbon_g for placement in other.placements}
    both = first.keys() & second.keys()
    return sum(first[name] for name in both), sum(second[name] for name in both)


def peak_gib() -> float:
    """Most memory this process has held. On Linux `ru_maxrss` is at least the parent's at the start, VmHWM is not."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)


def _times(spec: Spec) -> int:
    return 1 if spec.movable or spec.jobs > 1000 else 5 if spec.jobs <= 300 else 3


def cell(folder: Path, spec: Spec, *, warm: bool = False) -> Cell:
    """Measure one instance; meant for a process of its own, so that the peak memory is that of this plan."""
    warm_up()
    problem = instance(spec, traces(folder))
    made, seconds = timed(lambda: plan(problem), times=_times(spec))
    peak = peak_gib()
    checked(made, problem)
    first, first_seconds = timed(lambda: plan(problem, enough=lambda: True))
    checked(first, problem)
    p = arrays_of(problem)
    now = run_now(problem, p)
    arrival, search, arrival_seconds = inserted(problem, np.lexsort((np.arange(spec.jobs), p.first)))
    insert_seconds = statistics.median(inserted(problem, search.order())[2] for _ in range(3))
    _, ascent_seconds = timed(
        lambda: ascend(
            LocalRound(p, search.view.floor, budgets=0),
            p,
            limits_g=np.zeros(0),
            start=None,
            wanted=np.ones(spec.jobs, dtype=np.int64),
            iterations=ROUNDS,
            enough=lambda _: False,
        )
    )
    common = _common(made, arrival)
    return Cell(
        spec=spec,
        util=utilisation(problem),
        placed=len(made.placements),
        gap=made.gap_pct,
        seconds=seconds,
        lower_bound=made.lower_bound_g,
        peak_gib=peak,
        first_seconds=first_seconds,
        first_placed=len(first.placements),
        first_gap=first.gap_pct,
        saving=_saving(made, now),
        now_placed=len(now.placements),
        arrival_placed=len(arrival.placements),
        arrival_saving=_saving(arrival, now),
        arrival_seconds=arrival_seconds,
        ratio=made.carbon_g / arrival.carbon_g,
        ratio_common=common[0] / common[1],
        round_seconds=ascent_seconds / ROUNDS,
        insert_seconds=insert_seconds,
        warm=_again(problem, made) if warm else None,
    )


def _again(problem: Problem, before: Plan) -> Warm:
    changed = noisy(problem, share=NOISE, seed=1)
    assert before.prices is not None
    start = Start(before.prices, {placement.task.id: placement.segments for placement in before.placements})
    made, seconds = timed(lambda: plan(changed, start=start))
    cold, cold_seconds = timed(lambda: plan(changed))
    checked(made, changed)
    checked(cold, changed)
    return Warm(seconds, made.gap_pct, len(made.placements), cold_seconds, cold.gap_pct, len(cold.placements))


def one_job(folder: Path) -> tuple[list[float], list[float], dict[str, object]]:
    """Milliseconds of one exact decision per job, from Python: every region tried, and those that can win alone.

    Also what `rolling.py` asks for, of the same jobs.
    """
    warm_up()
    problem = instance(Spec(1000, 0.26, 1), traces(folder))
    search = Search(problem, seed=1)
    search.prepare()
    p, floor = search.p, search.view.floor
    none, unknown, row = np.zeros(p.cap.shape), np.full(len(floor), -np.inf), kernels.blank(problem.slots)
    took: dict[str, list[float]] = {}
    for key, known in (("all", unknown), ("pruned", floor)) * 2:  # the first time for the caches
        took[key] = []
        for j in range(len(problem.tasks)):
            begin = time.perf_counter()
            kernels.cheapest(p, j, none, 0.0, p.cap, 1.0, known, search.view.scratch, np.inf, row)
            took[key].append((time.perf_counter() - begin) * 1000)
    asked = [
        [
            task.earliest,
            task.deadline,
            int(task.work),
            list(task.regions),
            {region: grams / task.sizes[0].kw for region, grams in task.relocation_g.items()},
        ]
        for task in problem.tasks
    ]
    grams = {pool.region: pool.g_per_kwh.tolist() for pool in problem.pools}
    return took["all"], took["pruned"], {"grams": grams, "jobs": asked}
