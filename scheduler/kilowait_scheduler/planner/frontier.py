"""What patience is worth: carbon against waiting, and the GPU-hours left idle, for a row of prices on waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .joint import Start, plan
from .problem import Placement, Plan, Problem, Task

# Price of an hour of waiting, as a share of what the job would emit at the mean of its first region.
SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2)


@dataclass(frozen=True)
class Point:
    """One plan of the frontier. `wait_h`: hours by which jobs end later than at the earliest, over all jobs."""

    share_per_h: float
    carbon_g: float
    wait_h: float
    idle_gpu_h: float
    placed: int


def frontier(
    problem: Problem,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 1,
    enough: Callable[[], bool] = lambda: False,
) -> list[Point]:
    """A plan per price on waiting, each begun where the one before ended; dearer waiting never waits more for less."""
    start: Start | None = None
    found = []
    for share in shares:
        tasks = tuple(replace(task, wait_g_per_slot=_price(task, problem, share)) for task in problem.tasks)
        made = plan(replace(problem, tasks=tasks), start=start, seed=seed, enough=enough)
        if made.prices is not None:
            start = Start(made.prices, {placement.task.id: placement.segments for placement in made.placements})
        wait_h = sum(wait_slots(placement) for placement in made.placements) * problem.slot_h
        found.append(Point(share, made.carbon_g, wait_h, idle_gpu_h(made, problem), len(made.placements)))
    return found


def _price(task: Task, problem: Problem, share: float) -> float:
    pool = next((pool for name in task.regions for pool in problem.pools if pool.region == name), None)
    if pool is None or not problem.slots:
        return 0.0
    size = max(task.sizes, key=lambda size: size.speed)
    return share * problem.slot_h * size.kw * problem.slot_h * task.least_slots * max(0.0, float(pool.g_per_kwh.mean()))


def wait_slots(placement: Placement) -> int:
    """Slots by which the task ends later than it could at the earliest."""
    task = placement.task
    return max(0, placement.segments[-1].end - max(0, task.earliest) - task.least_slots)


def idle_gpu_h(made: Plan, problem: Problem) -> float:
    """GPU-hours of all pools over the whole grid that no placement uses."""
    there = float(sum(np.asarray(pool.capacity).sum() for pool in problem.pools))
    used = sum(s.gpus * (s.end - s.start) for placement in made.placements for s in placement.segments)
    return (there - used) * problem.slot_h
