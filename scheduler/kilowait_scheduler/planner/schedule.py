"""The exact best windows of one task under the GPUs the others leave, by dynamic programming over time.

State after slot t: work done k, and either running in region r or idle with r as the last region. A slot's work costs
its grams; a start costs nothing (the first), or restart slots plus restart energy (a resume), plus the grams of moving
where the region changes. Contiguous tasks are a sliding sum. Cost: O(regions x slots x work), vectorised over regions
and work.
"""

from __future__ import annotations

import numpy as np

from .problem import Floats, Placement, Problem, Segment, Task

_CONTINUE, _RESUME_HERE, _RESUME_MOVED, _FIRST = 0, 1, 2, 3


def best(task: Task, problem: Problem, free: dict[str, np.ndarray]) -> Placement | None:
    """The cheapest placement of `task`, or None where the free GPUs (`free[region]`, per slot) admit none.

    Among equally cheap ones the earliest to finish, then the fewest starts.
    """
    regions = [region for name in task.regions if (region := problem.region(name)) is not None]
    start, end = max(task.earliest, 0), min(task.deadline, problem.slots)
    if not regions or end - start < task.slots or task.slots < 1:
        return None
    grams = np.array([region.g_per_kwh[start:end] for region in regions], dtype=np.float64)
    open_ = np.array([free[region.name][start:end] >= task.gpus for region in regions])
    cost = np.where(open_, task.kw * problem.slot_h * grams, np.inf)
    move = np.array([task.relocation_g.get(region.name, 0.0) for region in regions])
    names = [region.name for region in regions]
    search = _suspendable if task.suspendable else _contiguous
    found = search(task, cost=cost, restart=task.restart_kwh * grams, move=move, names=names)
    if found is None:
        return None
    segments, carbon_g, done = found
    shifted = tuple(Segment(names[region], start + first, start + last) for region, first, last in segments)
    starts = len(shifted) - (1 if task.ran_in is None or _goes_on(task, shifted) else 0)
    waiting = task.wait_g_per_slot * max(0, done - task.slots)
    return Placement(task, shifted, carbon_g, waiting, starts)


def _goes_on(task: Task, segments: tuple[Segment, ...]) -> bool:
    return task.running and segments[0].start == task.earliest and segments[0].region == task.ran_in


_Found = tuple[list[tuple[int, int, int]], float, int]


def _contiguous(task: Task, *, cost: Floats, restart: Floats, move: Floats, names: list[str]) -> _Found | None:
    """One unbroken stretch. A running task can only go on; one that ran before and was lost pays its restart."""
    if task.running:
        index = names.index(task.ran_in) if task.ran_in in names else -1
        carbon = float(cost[index, : task.slots].sum())
        return ([(index, 0, task.slots)], carbon, task.slots) if index >= 0 and np.isfinite(carbon) else None
    again = task.ran_in is not None
    length = task.slots + (task.restart_slots if again else 0)
    if length > cost.shape[1]:
        return None
    stretches = np.lib.stride_tricks.sliding_window_view(cost, length, axis=1).sum(axis=2)
    toll = move * np.array([name != task.ran_in for name in names])
    carbon_g = stretches + toll[:, None] + (restart[:, : stretches.shape[1]] if again else 0.0)
    total = carbon_g + task.wait_g_per_slot * np.arange(stretches.shape[1])
    if not np.isfinite(total).any():
        return None
    lowest = total.min()
    near = total <= lowest + 1e-9 * abs(lowest)
    at = int(near.any(axis=0).argmax())
    index = int(near[:, at].argmax())
    return [(index, at, at + length)], float(carbon_g[index, at]), at + length


def _suspendable(task: Task, *, cost: Floats, restart: Floats, move: Floats, names: list[str]) -> _Found | None:
    regions, slots = cost.shape
    work, gap = task.slots, task.restart_slots
    shape = (regions, work + 1)
    run = np.full(shape, np.inf)
    idle = np.full((slots + 1, *shape), np.inf)
    how = np.zeros((slots, regions, work), dtype=np.int8)
    moved_from = np.zeros((slots + 1, work + 1), dtype=np.int32)
    parked = np.zeros((slots, *shape), dtype=bool)
    last_region = names.index(task.ran_in) if task.ran_in in names else None
    fresh = task.ran_in is None
    if task.running and last_region is not None:
        run[last_region, 0] = 0.0
    if last_region is not None:
        idle[0, last_region, 0] = 0.0
    # Cost of the restart slots that end at boundary t, per region: a running sum over the slots before t.
    finite = np.where(np.isfinite(cost), cost, 0.0)
    sums = np.concatenate((np.zeros((regions, 1)), np.cumsum(finite, axis=1)), axis=1)
    blocked = np.concatenate((np.zeros((regions, 1)), np.cumsum(~np.isfinite(cost), axis=1)), axis=1)
    best_total, best_at = np.inf, (-1, -1)
    for t in range(slots):
        options = np.full((4, *shape), np.inf)
        options[_CONTINUE] = run
        begun = t - gap
        if begun >= 0:
            overhead = np.where(blocked[:, t] - blocked[:, begun] == 0, sums[:, t] - sums[:, begun], np.inf)
            toll = (overhead + restart[:, begun])[:, None]
            options[_RESUME_HERE] = idle[begun] + toll
            lowest = idle[begun].argmin(axis=0)
            moved_from[t] = lowest
            if task.movable:
                options[_RESUME_MOVED] = idle[begun][lowest, np.arange(work + 1)] + move[:, None] + toll
            if not fresh and last_region is None:
                options[_RESUME_MOVED][:, 0] = move + toll[:, 0]  # its old region is not allowed; any start is a move
        if begun == 0 and task.running and last_region is not None:
            # It is running there: to stop it and resume it on the spot is no plan, even where the grid pays for power.
            options[_RESUME_HERE : _RESUME_MOVED + 1, last_region, 0] = np.inf
        if fresh:
            options[_FIRST][:, 0] = move
        pick = options.argmin(axis=0)[:, :work]
        value = options.min(axis=0)[:, :work]
        how[t] = pick
        run = np.full(shape, np.inf)
        run[:, 1:] = value + cost[:, t : t + 1]
        parked[t] = run < idle[t]
        idle[t + 1] = np.minimum(idle[t], run)
        finish = run[:, work] + task.wait_g_per_slot * (t + 1 - work)
        region = int(finish.argmin())
        if finish[region] < best_total - 1e-9 * max(1.0, abs(best_total) if np.isfinite(best_total) else 1.0):
            best_total, best_at = float(finish[region]), (t, region)
    if not np.isfinite(best_total):
        return None
    done = best_at[0] + 1
    carbon = best_total - task.wait_g_per_slot * (done - work)
    return _trace(best_at, work=work, gap=gap, how=how, parked=parked, moved_from=moved_from), carbon, done


def _trace(
    at: tuple[int, int], *, work: int, gap: int, how: np.ndarray, parked: np.ndarray, moved_from: np.ndarray
) -> list[tuple[int, int, int]]:
    """Walk the choices back from the last slot of work to the first; (region, start, end) in order of time."""
    segments: list[tuple[int, int, int]] = []
    (t, region), done = at, work
    end = t + 1
    while True:
        choice = how[t, region, done - 1]
        done -= 1
        if choice == _CONTINUE and t > 0 and done > 0:
            t -= 1
            continue
        begun = t if choice in (_CONTINUE, _FIRST) else t - gap
        segments.append((region, begun, end))
        if choice in (_CONTINUE, _FIRST):
            break
        if choice == _RESUME_MOVED:
            region = int(moved_from[t, done])
        if done == 0:
            break
        t = begun - 1
        while not parked[t, region, done]:
            t -= 1
        end = t + 1
    return segments[::-1]
