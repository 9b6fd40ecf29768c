"""Elastic jobs: against linear programs, against what others do, and against themselves at one size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import highspy
import numpy as np
import pytest

from kilowait_scheduler.planner.arrays import Arrays, arrays_of
from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.prices import LocalRound
from kilowait_scheduler.planner.problem import Pool, Problem, Segment, Size, Task
from kilowait_scheduler.planner.schedule import best_rows, solve
from planning import EXACT, compiled_rows

SLOTS = 24
CONCAVE = (Size(1, 0.5, 1.0), Size(2, 1.0, 1.75), Size(4, 2.0, 2.75), Size(8, 4.0, 3.5))
LINEAR = tuple(Size(gpus, 0.5 * gpus, float(gpus)) for gpus in (1, 2, 4, 8))
AWKWARD = (Size(1, 0.5, 1.0), Size(2, 1.0, 1.8731), Size(4, 2.0, 3.3977))  # in no common unit


def problem_of(task: Task, grams: Any, *, gpus: int = 8) -> Problem:
    values = np.array(grams, dtype=float)
    return Problem(1.0, len(values), (Pool("r0", values, np.full(len(values), gpus)),), (task,))


def elastic(sizes: tuple[Size, ...], work: float, **more: Any) -> Task:
    return Task("j", sizes, work, 0, SLOTS, ("r0",), suspendable=True, **more)


def dynamic_g(problem: Problem, *, round_up: bool = False) -> float:
    p = arrays_of(problem, round_up=round_up)
    value, _, _ = compiled_rows(p, 0, p.cap)
    assert value == best_rows(p, 0, p.cap)[0]
    return value


def linear_g(problem: Problem) -> float:
    """The least grams if a slot could be shared out between sizes: a linear program."""
    task, grams = problem.tasks[0], problem.pools[0].g_per_kwh
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    for slot in range(problem.slots):
        columns = []
        for size in task.sizes:
            columns.append(model.getNumCol())
            model.addVar(0.0, 1.0)
            model.changeColCost(columns[-1], size.kw * problem.slot_h * float(grams[slot]))
        model.addRow(-highspy.kHighsInf, 1.0, len(columns), np.array(columns), np.ones(len(columns)))
    speeds = np.array([size.speed for _ in range(problem.slots) for size in task.sizes])
    model.addRow(task.work, highspy.kHighsInf, len(speeds), np.arange(len(speeds)), speeds)
    model.run()
    assert model.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(model.getObjectiveValue())


def marginal_steps(problem: Problem) -> list[tuple[float, float, float]]:
    """(grams per unit of work, work, grams) of each step up in each slot, the cleanest first, as CarbonScaler ranks."""
    steps = []
    for grams in problem.pools[0].g_per_kwh.tolist():
        before = Size(0, 0.0, 0.0)
        for size in problem.tasks[0].sizes:
            more, costs = size.speed - before.speed, (size.kw - before.kw) * grams * problem.slot_h
            steps.append((costs / more, more, costs))
            before = size
    return sorted(steps)


def greedy_g(problem: Problem) -> float:
    """Steps up in that order until the work is done; the last one is bought whole."""
    left = total = 0.0
    for _, work, costs in marginal_steps(problem):
        if left >= problem.tasks[0].work - 1e-9:
            break
        left, total = left + work, total + costs
    return total


def fixed(task: Task, size: Size) -> Task:
    """The same work on one size, in whole slots."""
    return replace(task, sizes=(replace(size, speed=1.0),), work=math.ceil(task.work / size.speed - 1e-9))


def test_no_share_of_a_slot_is_cheaper_and_nothing_that_others_would_do() -> None:
    """Linear program <= ours <= CarbonScaler's steps, ours <= the best fixed size."""
    rng = np.random.default_rng(1)
    for _ in range(80):
        sizes = (CONCAVE, LINEAR)[int(rng.integers(2))]
        task = elastic(sizes, float(rng.integers(2, 60)) / 2)
        problem = problem_of(task, rng.uniform(20, 500, SLOTS))
        ours = dynamic_g(problem)
        assert linear_g(problem) <= ours * (1 + 1e-9)
        assert ours <= greedy_g(problem) * (1 + EXACT)
        for size in sizes:
            if fixed(task, size).work <= SLOTS:
                assert ours <= dynamic_g(replace(problem, tasks=(fixed(task, size),))) * (1 + EXACT)


@pytest.mark.parametrize("sizes", [CONCAVE, LINEAR], ids=["concave", "linear"])
def test_work_that_ends_with_a_step_costs_what_the_linear_program_and_the_steps_cost(sizes: tuple[Size, ...]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        grams = rng.uniform(20, 500, SLOTS)
        steps = marginal_steps(problem_of(elastic(sizes, 1.0), grams))
        work = sum(step[1] for step in steps[: int(rng.integers(1, len(steps) // 2))])
        problem = problem_of(elastic(sizes, work), grams)
        ours = dynamic_g(problem)
        assert ours == pytest.approx(linear_g(problem), rel=1e-7)
        assert ours == pytest.approx(greedy_g(problem), rel=EXACT)


def test_with_restarts_no_fixed_size_is_cheaper_either() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        task = elastic(
            CONCAVE,
            float(rng.integers(2, 40)) / 2,
            restart_kwh=float(rng.choice([0.0, 0.5, 4.0])),
            restart_slots=int(rng.integers(2)),
            wait_g_per_slot=0.0,
            ran_in=(None, "r0")[int(rng.integers(2))],
        )
        problem = problem_of(task, rng.uniform(20, 500, SLOTS))
        ours = dynamic_g(problem)
        for size in CONCAVE:
            assert ours <= dynamic_g(replace(problem, tasks=(fixed(task, size),))) * (1 + EXACT)
        if task.restart_kwh == 0 and task.restart_slots == 0:
            assert linear_g(problem) <= ours * (1 + 1e-9)


def test_a_change_of_size_is_no_restart() -> None:
    grams = [100.0] * 6 + [10.0] * 4 + [100.0] * 14
    task = elastic((Size(1, 1.0, 1.0), Size(4, 4.0, 3.0)), 18.0, restart_kwh=50.0)
    made = plan(problem_of(replace(task, suspendable=False), grams))
    (placement,) = made.placements
    assert placement.restarts == 0
    assert [segment.gpus for segment in placement.segments if 6 <= segment.start < 10] == [4]
    assert {segment.gpus for segment in placement.segments} == {1, 4}


def test_an_elastic_job_shrinks_to_what_others_leave() -> None:
    task = elastic(LINEAR, 12.0)
    capacity = np.array([8, 8, 2, 2] * 6)
    crowd = Task.rigid("crowd", gpus=6, kw_per_gpu=0.5, slots=1, earliest=0, deadline=1, regions=("r0",))
    problem = Problem(1.0, SLOTS, (Pool("r0", np.arange(10.0, 34.0), capacity),), (task, crowd))
    made = plan(problem)
    assert violations(made, problem) == []
    mine = next(placement for placement in made.placements if placement.task.id == "j")
    assert mine.segments == (Segment("r0", 0, 1, 2), Segment("r0", 1, 2, 8), Segment("r0", 2, 3, 2))


def rounded(rng: np.random.Generator, sizes: tuple[Size, ...], work: float) -> Problem:
    task = elastic(sizes, work, restart_kwh=0.2)
    pools = tuple(Pool(f"r{i}", rng.uniform(20, 500, SLOTS), np.full(SLOTS, 8)) for i in range(3))
    return Problem(1.0, SLOTS, pools, (replace(task, regions=("r0", "r1", "r2")),))


def test_speeds_in_no_common_unit_make_a_plan_that_truly_finishes_and_a_bound_below_it() -> None:
    rng = np.random.default_rng(4)
    gaps = []
    for _ in range(60):
        problem = rounded(rng, AWKWARD, float(rng.uniform(3, 50)))
        made = plan(problem)
        assert violations(made, problem) == [] and made.placements
        assert made.lower_bound_g <= made.objective_g
        gaps.append(made.gap_pct)
    assert np.mean(gaps) < 2.5


def test_floors_that_prune_pools_are_floors_of_the_relaxation_not_of_the_rounded_plan() -> None:
    rng = np.random.default_rng(5)
    seen = 0

    def rounds(p: Arrays, floor: Any, budgets: int) -> LocalRound:
        nonlocal seen
        for j in range(len(p.first)):
            for q in range(p.pair_at[j], p.pair_at[j + 1]):
                assert floor[q] <= solve(p, j, q, q + 1, p.cap)[0] * (1 + EXACT)
                seen += 1
        return LocalRound(p, floor, budgets=budgets)

    for _ in range(60):
        sizes = (Size(1, 0.5, 1.0), Size(2, 1.0, float(rng.uniform(1.2, 2))), Size(4, 2.0, float(rng.uniform(2, 4))))
        problem = rounded(rng, sizes, float(rng.uniform(2, 6)))
        crowd = [
            Task.rigid(
                f"crowd{i}", gpus=6, kw_per_gpu=0.5, slots=20, earliest=0, deadline=SLOTS, regions=("r0", "r1", "r2")
            )
            for i in range(3)
        ]
        plan(replace(problem, tasks=(*problem.tasks, *crowd)), rounds=rounds, enough=lambda: True)
    assert seen > 300


@pytest.mark.parametrize(
    ("sizes", "work"),
    [
        (AWKWARD, 60.0),
        ((Size(1, 0.5, 1.0), Size(8, 4.0, 6.7)), 150.0),
        ((Size(1, 0.5, 1.0), Size(2, 1.0, 1.9), Size(8, 4.0, 6.7)), 90.0),
    ],
    ids=["awkward", "long", "three sizes"],
)
def test_rounding_never_makes_a_fixed_size_cheaper(sizes: tuple[Size, ...], work: float) -> None:
    rng = np.random.default_rng(6)
    for _ in range(10):
        task = elastic(sizes, work, restart_kwh=0.1)
        problem = problem_of(task, rng.uniform(20, 500, SLOTS))
        ours = dynamic_g(problem)
        for size in sizes:
            if fixed(task, size).work <= SLOTS:
                assert ours <= dynamic_g(replace(problem, tasks=(fixed(task, size),))) * (1 + EXACT)


@pytest.mark.parametrize("slots", [23, 24])
def test_an_elastic_job_whose_window_just_holds_its_work_is_placed(slots: int) -> None:
    task = replace(elastic((Size(1, 0.5, 1.0), Size(8, 4.0, 6.7)), 154.0), deadline=slots)  # 22.99 slots on 8 GPUs
    made = plan(problem_of(task, [100.0] * 24))
    assert made.unplaced == ()
