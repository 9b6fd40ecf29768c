"""The single-job planner against enumeration: exact with restarts, moves, tight capacity and waiting prices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.insert import plan
from kilowait_scheduler.planner.problem import Placement, Plan, Problem, RegionSlots, Segment, Task
from kilowait_scheduler.planner.schedule import best

SLOTS = 7


def problem_of(draw_intensity: list[list[float]], capacity: list[list[int]], *tasks: Task) -> Problem:
    regions = tuple(
        RegionSlots(f"r{index}", np.array(g, dtype=float), np.array(c))
        for index, (g, c) in enumerate(zip(draw_intensity, capacity, strict=True))
    )
    return Problem(1.0, len(draw_intensity[0]), regions, tasks)


def every_placement(task: Task, problem: Problem) -> list[float]:
    """Objective of every feasible assignment of slots to regions, by brute force."""
    names = [region.name for region in problem.regions if region.name in task.regions]
    found = []
    for assignment in itertools.product([None, *names], repeat=problem.slots):
        busy = [slot for slot, name in enumerate(assignment) if name is not None]
        if not busy or busy[0] < task.earliest or busy[-1] >= task.deadline:
            continue
        segments: list[Segment] = []
        for slot in busy:
            name = assignment[slot]
            if segments and segments[-1].end == slot and segments[-1].region == name:
                segments[-1] = Segment(name, segments[-1].start, slot + 1)
            else:
                segments.append(Segment(name, slot, slot + 1))
        carbon, work, restarts, previous = 0.0, 0, 0, task.ran_in
        for index, segment in enumerate(segments):
            region = problem.region(segment.region)
            goes_on = index == 0 and task.running and segment.region == task.ran_in and segment.start == task.earliest
            resumes = not goes_on and (index > 0 or task.ran_in is not None)
            span = range(segment.start, segment.end)
            if any(region.capacity[slot] < task.gpus for slot in span):
                break
            if resumes and (segment.end - segment.start) <= task.restart_slots:
                break
            carbon += sum(task.kw * problem.slot_h * region.g_per_kwh[slot] for slot in span)
            carbon += task.restart_kwh * region.g_per_kwh[segment.start] if resumes else 0.0
            carbon += 0.0 if goes_on or previous == segment.region else task.relocation_g.get(segment.region, 0.0)
            work += len(span) - (task.restart_slots if resumes else 0)
            restarts += resumes
            previous = segment.region
        else:
            one_region = len({s.region for s in segments} | ({task.ran_in} if task.ran_in in names else set())) == 1
            allowed = task.suspendable and (task.movable or one_region)
            if not task.suspendable:
                allowed = len(segments) == 1 and (not task.running or goes_on_first(task, segments))
            if work == task.slots and allowed:
                found.append(carbon + task.wait_g_per_slot * (busy[-1] + 1 - task.earliest - task.slots))
    return found


def goes_on_first(task: Task, segments: list[Segment]) -> bool:
    return segments[0].start == task.earliest and segments[0].region == task.ran_in


intensities = st.lists(
    st.lists(st.sampled_from([0.0, 10.0, 50.0, 90.0, 200.0]), min_size=SLOTS, max_size=SLOTS), min_size=2, max_size=2
)
capacities = st.lists(st.lists(st.sampled_from([0, 4, 4, 4]), min_size=SLOTS, max_size=SLOTS), min_size=2, max_size=2)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    suspendable = draw(st.booleans())
    ran_in = draw(st.sampled_from([None, None, "r0", "r1", "gone"]))
    return Task(
        id="j",
        gpus=draw(st.sampled_from([1, 4])),
        kw_per_gpu=0.5,
        slots=draw(st.integers(1, 4)),
        earliest=draw(st.integers(0, 2)) if ran_in is None else 0,
        deadline=draw(st.integers(4, SLOTS)),
        regions=("r0", "r1"),
        suspendable=suspendable,
        movable=suspendable and draw(st.booleans()),
        restart_kwh=draw(st.sampled_from([0.0, 0.2, 3.0])),
        restart_slots=draw(st.sampled_from([0, 0, 1])),
        relocation_g={"r1": draw(st.sampled_from([0.0, 15.0]))},
        wait_g_per_slot=draw(st.sampled_from([0.0, 0.0, 7.0])),
        ran_in=ran_in,
        running=ran_in in ("r0", "r1") and draw(st.booleans()),
    )


@settings(max_examples=250, deadline=None)
@given(intensities, capacities, tasks())
def test_the_best_schedule_costs_what_the_best_of_all_schedules_costs(
    grams: list[list[float]], capacity: list[list[int]], task: Task
) -> None:
    problem = problem_of(grams, capacity, task)
    found = best(task, problem, {region.name: region.capacity for region in problem.regions})
    every = every_placement(task, problem)
    if found is None:
        assert not every
        return
    assert not violations(Plan((found,), (), found.objective_g), problem)
    assert every, "a placement was found that enumeration does not know"
    assert found.objective_g == pytest.approx(min(every), abs=1e-6)


def test_a_free_restart_takes_the_cleanest_slots_and_a_dear_one_takes_one_stretch() -> None:
    grams = [[90.0, 10.0, 90.0, 20.0, 90.0, 30.0, 90.0]]
    task = Task("j", 1, 1.0, 3, 0, SLOTS, ("r0",), suspendable=True)
    problem = problem_of(grams, [[1] * SLOTS], task)
    cheap = best(task, problem, {"r0": problem.regions[0].capacity})
    dear = best(
        Task("j", 1, 1.0, 3, 0, SLOTS, ("r0",), suspendable=True, restart_kwh=100.0),
        problem,
        {"r0": problem.regions[0].capacity},
    )
    assert cheap is not None and dear is not None
    assert cheap.carbon_g == 60.0 and cheap.restarts == 2
    assert dear.carbon_g == 120.0 and dear.segments == (Segment("r0", 1, 4),)


def test_equal_costs_start_at_once_and_at_home() -> None:
    task = Task("j", 1, 1.0, 3, 0, SLOTS, ("r1", "r0"), suspendable=True)
    problem = problem_of([[50.0] * SLOTS] * 2, [[1] * SLOTS] * 2, task)
    found = best(task, problem, {region.name: region.capacity for region in problem.regions})
    assert found is not None and found.segments == (Segment("r1", 0, 3),)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_plans_of_many_jobs_never_break_capacity_and_stay_above_their_bound(data: st.DataObject) -> None:
    grams = data.draw(intensities)
    capacity = data.draw(capacities)
    many = []
    for index in range(data.draw(st.integers(0, 5))):
        task = data.draw(tasks())
        many.append(Task(**{**task.__dict__, "id": f"j{index}"}))
    problem = problem_of(grams, capacity, *many)
    made = plan(problem)
    assert violations(made, problem) == []
    assert len(made.placements) + len(made.unplaced) == len(many)
    assert made.lower_bound_g <= made.objective_g + 1e-6
    assert all(item.detail for item in made.unplaced)


def test_the_checker_notices_each_kind_of_lie() -> None:
    task = Task("j", 2, 1.0, 2, 1, 4, ("r0",))
    problem = problem_of([[10.0] * SLOTS, [10.0] * SLOTS], [[2] * SLOTS, [2] * SLOTS], task)
    honest = Placement(task, (Segment("r0", 1, 3),), 40.0, 0.0, 0)
    assert violations(Plan((honest,), (), 0.0), problem) == []
    lies = [
        Placement(task, (Segment("r0", 1, 3),), 39.0, 0.0, 0),
        Placement(task, (Segment("r1", 1, 3),), 40.0, 0.0, 0),
        Placement(task, (Segment("r0", 0, 2),), 40.0, 0.0, 0),
        Placement(task, (Segment("r0", 3, 5),), 40.0, 0.0, 0),
        Placement(task, (Segment("r0", 1, 2), Segment("r0", 3, 4)), 40.0, 0.0, 1),
        Placement(task, (Segment("r0", 1, 4),), 60.0, 0.0, 0),
        Placement(task, (), 0.0, 0.0, 0),
    ]
    for lie in lies:
        assert violations(Plan((lie,), (), 0.0), problem), lie
    assert violations(Plan((honest, honest), (), 0.0), problem)
