"""The certificate between linear and integer programs: HiGHS proves what our bound and our plan may be at most."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import highspy
import numpy as np
import pytest

from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.joint import Effort, plan
from kilowait_scheduler.planner.prices import LocalRound, ascend
from kilowait_scheduler.planner.problem import Problem, Task
from kilowait_scheduler.planner.search import Search
from planning import drops_g, market

CONVERGED = Effort(iterations=600, moves=1)
INF = highspy.kHighsInf


@dataclass
class Program:
    """A mixed integer program in the making: columns with a cost, rows of (column, factor)."""

    costs: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    rows: list[tuple[float, float, list[tuple[int, float]]]] = field(default_factory=list)

    def column(self, cost: float, *, whole: bool = True) -> int:
        """A number in [0, 1]; 0 or 1 where it must be whole."""
        if whole:
            self.whole.append(len(self.costs))
        self.costs.append(cost)
        return len(self.costs) - 1

    def row(self, low: float, high: float, terms: list[tuple[int, float]]) -> None:
        self.rows.append((low, high, terms))

    def solve(self, *, integer: bool, seconds: float = 20.0) -> tuple[float, float]:
        """(value, proven lower bound) of the program; without `integer` of its relaxation, where the two are one."""
        model = highspy.Highs()
        for name, value in (("output_flag", False), ("time_limit", seconds), ("mip_rel_gap", 0.0)):
            model.setOptionValue(name, value)
        ones = np.ones(len(self.costs))
        model.addVars(len(self.costs), 0 * ones, ones)
        model.changeColsCost(len(self.costs), np.arange(len(self.costs)), np.array(self.costs))
        starts = np.cumsum([0, *(len(terms) for _, _, terms in self.rows)])
        model.addRows(
            len(self.rows),
            np.array([low for low, _, _ in self.rows]),
            np.array([high for _, high, _ in self.rows]),
            int(starts[-1]),
            starts[:-1],
            np.array([column for _, _, terms in self.rows for column, _ in terms]),
            np.array([factor for _, _, terms in self.rows for _, factor in terms]),
        )
        if integer:
            kind = [highspy.HighsVarType.kInteger] * len(self.whole)
            model.changeColsIntegrality(len(self.whole), np.array(self.whole), np.array(kind))
        model.run()
        info = model.getInfo()
        value = float(info.objective_function_value)
        if integer:
            return value, float(info.mip_dual_bound)
        assert model.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return value, value


def time_indexed(problem: Problem) -> Program:
    """One column per job, pool and slot. Jobs without a checkpoint have one per start instead."""
    made, drops = Program(), drops_g(problem)
    held: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for task in problem.tasks:
        one = [(made.column(drops[task.id]), 1.0)]
        for q, pool in enumerate(problem.pools):
            if task.fits(pool):
                grams = task.sizes[0].kw * problem.slot_h * pool.g_per_kwh
                part = _stretches if not task.suspendable else _slots
                one.append((part(made, task, q, grams, pool.g_per_kwh, held), 1.0))
        made.row(1.0, 1.0, one)
    for (q, slot), terms in held.items():
        made.row(0.0, float(problem.pools[q].capacity[slot]), terms)
    return made


Held = dict[tuple[int, int], list[tuple[int, float]]]


def _stretches(made: Program, task: Task, q: int, grams: np.ndarray, _: np.ndarray, held: Held) -> int:
    """The column that says whether the job, never suspended, runs in pool q."""
    chosen, length = made.column(0.0), int(task.work)
    terms = [(chosen, -1.0)]
    for start in range(task.earliest, task.deadline - length + 1):
        column = made.column(float(grams[start : start + length].sum()))
        terms.append((column, 1.0))
        for slot in range(start, start + length):
            held.setdefault((q, slot), []).append((column, float(task.sizes[0].gpus)))
    made.row(0.0, 0.0, terms)
    return chosen


def _slots(made: Program, task: Task, q: int, grams: np.ndarray, per_kwh: np.ndarray, held: Held) -> int:
    """The same for one that may be suspended; starts after the first pay for their restart."""
    chosen = made.column(0.0)
    total, firsts = [(chosen, -float(task.work))], [(chosen, -1.0)]
    before = -1
    for slot in range(task.earliest, task.deadline):
        runs = made.column(float(grams[slot]))
        total.append((runs, 1.0))
        held.setdefault((q, slot), []).append((runs, float(task.sizes[0].gpus)))
        made.row(-INF, 0.0, [(runs, 1.0), (chosen, -1.0)])
        if task.restart_kwh:
            first = made.column(0.0)
            resumes = made.column(task.restart_kwh * float(per_kwh[slot]))
            firsts.append((first, 1.0))
            made.row(-INF, 0.0, [(runs, 1.0), *((column, -1.0) for column, _ in firsts[1:])])
            terms = [(runs, 1.0), (first, -1.0), (resumes, -1.0)]
            made.row(-INF, 0.0, terms if before < 0 else [*terms, (before, -1.0)])
        before = runs
    made.row(0.0, 0.0, total)
    if task.restart_kwh:
        made.row(0.0, 0.0, firsts)
    return chosen


def at_prices(problem: Problem) -> float:
    """What prices alone prove."""
    search = Search(problem, seed=1)
    look = LocalRound(search.relaxed, search.prepare(), budgets=0)
    wanted = np.ones(len(problem.tasks), dtype=np.int64)
    found = ascend(
        look, search.p, limits_g=np.zeros(0), start=None, wanted=wanted, iterations=2400, enough=lambda _: False
    )
    return found.bound


def certified(problem: Problem) -> float:
    made = plan(problem, effort=CONVERGED)
    assert violations(made, problem) == [] and made.unplaced == ()
    return made.lower_bound_g


@pytest.mark.parametrize(
    ("seed", "jobs", "suspendable", "load"),
    [(1, 25, 1.0, 0.5), (2, 30, 0.5, 0.6), (3, 20, 0.0, 0.4), (4, 30, 1.0, 0.75)],
)
def test_without_restarts_prices_prove_the_linear_program(
    seed: int, jobs: int, suspendable: float, load: float
) -> None:
    problem = market(seed, jobs=jobs, regions=3, slots=36, load=load, suspendable=suspendable, largest=3)
    linear, _ = time_indexed(problem).solve(integer=False)
    assert linear * 0.999 <= at_prices(problem) <= linear * (1 + 1e-6)
    assert certified(problem) >= linear * 0.999


def test_a_job_that_may_change_its_region_at_no_cost_is_bounded_by_its_linear_program_too() -> None:
    """Regions are then one: in each slot the sum over pools is at most 1."""
    drawn = market(5, jobs=20, regions=2, slots=30, load=0.5, largest=3)
    problem = replace(drawn, tasks=tuple(replace(task, movable=True) for task in drawn.tasks))
    made, drops = Program(), drops_g(problem)
    held: Held = {}
    for task in problem.tasks:
        chosen = made.column(0.0)
        made.row(1.0, 1.0, [(chosen, 1.0), (made.column(drops[task.id]), 1.0)])
        total = [(chosen, -float(task.work))]
        for slot in range(task.earliest, task.deadline):
            here = [(chosen, -1.0)]
            for q, pool in enumerate(problem.pools):
                if task.fits(pool):
                    here.append((made.column(task.sizes[0].kw * float(pool.g_per_kwh[slot])), 1.0))
                    held.setdefault((q, slot), []).append((here[-1][0], float(task.sizes[0].gpus)))
            made.row(-INF, 0.0, here)
            total += here[1:]
        made.row(0.0, 0.0, total)
    for (q, slot), terms in held.items():
        made.row(0.0, float(problem.pools[q].capacity[slot]), terms)
    linear, _ = made.solve(integer=False)
    assert linear * 0.999 <= at_prices(problem) <= linear * (1 + 1e-6)


def test_with_restarts_the_bound_is_no_weaker_than_the_linear_program() -> None:
    for seed in (6, 7):
        problem = market(seed, jobs=20, regions=2, slots=30, load=0.5, restart_kwh=0.4, largest=3)
        linear, _ = time_indexed(problem).solve(integer=False)
        assert certified(problem) >= linear * 0.999


@pytest.mark.parametrize("seed", range(4))
def test_of_gangs_that_exclude_each_other_the_bound_knows_what_no_price_shows(seed: int) -> None:
    """One gang fills a region; the linear program runs most of it beside the small ones, whole plans cannot."""
    drawn = market(60 + seed, jobs=8, regions=2, slots=20, load=0.2, restart_kwh=0.2, largest=1, longest=8)
    full = Task.rigid("full", gpus=8, kw_per_gpu=0.4, slots=5, earliest=0, deadline=16, regions=("r0", "r1"))
    pools = tuple(replace(pool, capacity=np.full(20, 8)) for pool in drawn.pools)
    problem = replace(drawn, pools=pools, tasks=(full, *drawn.tasks))
    program = time_indexed(problem)
    (linear, _), (best, _) = program.solve(integer=False), program.solve(integer=True)
    bound = certified(problem)
    assert bound <= best * (1 + 1e-6)
    assert best - bound <= 0.5 * (best - linear)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_whole_plan_lies_between_our_bound_and_our_plan(seed: int) -> None:
    problem = market(
        40 + seed, jobs=7, regions=2, slots=14, load=0.6, restart_kwh=0.3, suspendable=0.7, largest=3, longest=5
    )
    made = plan(problem)
    best, proven = time_indexed(problem).solve(integer=True)
    assert violations(made, problem) == [] and made.unplaced == ()
    assert best == pytest.approx(proven, rel=1e-6)
    assert made.lower_bound_g <= best * (1 + 1e-6)
    assert best * (1 - 1e-6) <= made.objective_g <= best * 1.01
