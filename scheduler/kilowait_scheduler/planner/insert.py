"""All tasks, one after the other, each exactly at its best under what the earlier ones left; the failed ones first.

Running tasks come first (their GPUs are taken), then high priority, then those with the least room to move, then the
large. A task that finds no place is moved to the front and the round is repeated; the round with the most placed, then
the cheapest, wins. `lower_bound_g` is the sum of the placed tasks' optima without capacity: no plan of these tasks,
under any capacity, costs less.
"""

from __future__ import annotations

import numpy as np

from kilowait_scheduler.core.reasons import Reason

from .problem import Placement, Plan, Problem, Task, Unplaced
from .schedule import best

_ROUNDS = 30


def plan(problem: Problem) -> Plan:
    """A plan of `problem`, never over capacity, never past a deadline; infeasible tasks are named, not raised."""
    impossible = {task.id: found for task in problem.tasks if (found := diagnose(task, problem)) is not None}
    tasks = sorted((task for task in problem.tasks if task.id not in impossible), key=_order)
    winner: list[Placement] = []
    losers: list[Task] = list(tasks)
    seen: set[tuple[str, ...]] = set()
    for _ in range(_ROUNDS):
        placed, failed = _round(tasks, problem)
        cost = sum(placement.objective_g for placement in placed)
        if (len(failed), cost) < (len(losers), sum(p.objective_g for p in winner)) or not winner:
            winner, losers = placed, failed
        seen.add(tuple(task.id for task in tasks))
        front = {task.id for task in failed}
        tasks = sorted(tasks, key=lambda task: (not task.running, task.id not in front))
        if not failed or tuple(task.id for task in tasks) in seen:
            break
    unplaced = [*impossible.values(), *(_crowded_out(task) for task in losers)]
    return Plan(tuple(winner), tuple(unplaced), _bound(winner, problem))


def _order(task: Task) -> tuple[bool, int, int, float, str]:
    return (not task.running, -task.priority, task.deadline - task.earliest - task.slots, -task.gpus, task.id)


def _round(tasks: list[Task], problem: Problem) -> tuple[list[Placement], list[Task]]:
    free = {region.name: np.array(region.capacity, dtype=np.int64) for region in problem.regions}
    placed: list[Placement] = []
    failed: list[Task] = []
    for task in tasks:
        placement = best(task, problem, free)
        if placement is None:
            failed.append(task)
            continue
        for segment in placement.segments:
            free[segment.region][segment.start : segment.end] -= task.gpus
        placed.append(placement)
    return placed, failed


def _bound(placed: list[Placement], problem: Problem) -> float:
    unlimited = {region.name: np.full(problem.slots, np.iinfo(np.int64).max) for region in problem.regions}
    total = 0.0
    for placement in placed:
        alone = best(placement.task, problem, unlimited)
        total += alone.objective_g if alone is not None else 0.0
    return total


def diagnose(task: Task, problem: Problem) -> Unplaced | None:
    """Why `task` could not be done even if it were alone, or None where it could."""
    known = [region for name in task.regions if (region := problem.region(name)) is not None]
    if not known:
        have = ", ".join(region.name for region in problem.regions) or "none"
        return Unplaced(task, Reason.NO_ALLOWED_REGION, f"allowed: {', '.join(task.regions)}; known regions: {have}")
    room = min(task.deadline, problem.slots) - max(task.earliest, 0)
    if task.slots < 1 or room < task.slots:
        return Unplaced(
            task, Reason.WINDOW_TOO_SHORT, f"needs {task.slots} slots, has {max(room, 0)} before its deadline"
        )
    largest = max((int(region.capacity.max(initial=0)) for region in known), default=0)
    if largest < task.gpus:
        return Unplaced(
            task, Reason.GANG_TOO_LARGE, f"needs {task.gpus} GPUs, the largest allowed region has {largest}"
        )
    alone = best(task, problem, {region.name: region.capacity for region in problem.regions})
    if alone is None:
        return Unplaced(task, Reason.CAPACITY_TAKEN, "no allowed region has the GPUs free for long enough")
    return None


def _crowded_out(task: Task) -> Unplaced:
    return Unplaced(task, Reason.CAPACITY_TAKEN, "earlier and more urgent jobs hold the GPUs before its deadline")
