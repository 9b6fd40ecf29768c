"""One job in one pool at one size: `kernels.solve` where nothing else may change, which is most of all work."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import ARRIVES, CLOSED, FRESH, PARKED, RUNNING, Arrays
from .jit import inlined, jit
from .problem import Floats, Ints

_SAME = 1e-9  # relative; differences below it are rounding, and the earlier end wins


@jit
def solve_one(
    p: Arrays, j: int, q: int, price: Floats, strength: float, free: Ints, scale: float, where: Any, size: Any
) -> float:
    """The least objective of job j in pair q of one size, prices included; the schedule is written into the (T,) rows.

    They are only written where a schedule exists; inf where none does. Among equals the earliest to end wins. Work is
    counted in slots, which is exact.
    """
    begin, window, pool = p.first[j], p.last[j] - p.first[j], p.pair_pool[q]
    s = p.size_at[j] + p.pair_from[q]
    kwh, gpus = p.size_kwh[s] * p.pair_factor[q], p.size_gpus[s]
    if window < 1 or p.size_slots[s] < 1 or window < p.size_slots[s]:
        return np.inf
    cost, toll = np.empty(window), np.empty(window)
    for t in range(window):
        gram = scale * p.grams[pool, begin + t] + p.price_factor[j] * p.extra[pool, begin + t]
        toll[t] = (p.restart_kwh[j] + p.caution_kwh[j]) * gram
        enough = free[pool, begin + t] >= gpus
        cost[t] = kwh * gram + gpus * strength * price[pool, begin + t] if enough else np.inf
    if p.suspendable[j] == 0:
        return _contiguous(p, j, q, cost, toll, scale, where, size)
    return _suspendable(p, j, q, cost, toll, scale, where, size)


@inlined
def _suspendable(p: Arrays, j: int, q: int, cost: Floats, toll: Floats, scale: float, where: Any, size: Any) -> float:
    """A dynamic program over slots and the slots of work done, running or idle: O(slots x work).

    `run` and `idle` are (slots + 1, work + 1), at the boundary before a slot; only what can still become a schedule in
    time is filled in: at boundary t from `low` to `high` done.
    """
    window, gap, mode = len(cost), p.gap[j], p.pair_mode[q]
    target = p.size_slots[p.size_at[j] + p.pair_from[q]]
    move_g, ready = scale * p.pair_move_g[q], p.pair_move_slots[q]
    run, idle = np.empty((window + 1, target + 1)), np.empty((window + 1, target + 1))
    run[0, 0] = 0.0 if mode == RUNNING else np.inf
    idle[0, 0] = 0.0 if mode == PARKED else np.inf
    best, best_t = np.inf, -1
    for t in range(window):
        low, high = max(0, target - (window - t)), min(target - 1, t)
        if t > 0 and high == t:
            idle[t, high] = np.inf
        if t > 0 and low == 0:
            run[t, 0] = np.inf
        step, b = cost[t], t - gap
        entry = _entry(cost, toll, b, t) if b >= 0 else np.inf
        resumable = min(high, b)
        for k in range(low, resumable + 1):
            idle[t + 1, k] = min(idle[t, k], run[t, k])
            run[t + 1, k + 1] = min(run[t, k] + step, idle[b, k] + entry)
        for k in range(max(low, resumable + 1), high + 1):
            idle[t + 1, k] = min(idle[t, k], run[t, k])
            run[t + 1, k + 1] = run[t, k] + step
        if t == 0 and p.stays[j] == 1 and mode == RUNNING and step < np.inf:
            idle[1, 0] = np.inf
        if low == 0 and t >= ready and mode == FRESH:
            run[t + 1, 1] = min(run[t + 1, 1], move_g + step)
        if low == 0 and b >= ready and mode == ARRIVES:
            run[t + 1, 1] = min(run[t + 1, 1], move_g + entry)
        if high == target - 1:
            total = run[t + 1, target] + p.wait_g[j] * max(0, t + 1 - p.least[j])
            if total < best and (best == np.inf or total < best - _SAME * abs(best)):
                best, best_t = total, t
    if best_t < 0:
        return np.inf
    where[:] = -1
    size[:] = 0
    # Walk back: which earlier state gave the value of this one; to go on before to start, to start before to resume.
    t, k = best_t, target
    while True:
        found, b, first = run[t + 1, k], t - gap, t
        k -= 1
        off, how = abs(run[t, k] + cost[t] - found), 1
        if k == 0 and mode == FRESH and t >= ready and abs(move_g + cost[t] - found) < off:
            off, how = abs(move_g + cost[t] - found), 2
        entry = _entry(cost, toll, b, t) if b >= 0 else np.inf
        if entry < np.inf:
            if k == 0 and mode == ARRIVES and b >= ready and abs(move_g + entry - found) < off:
                off, how, first = abs(move_g + entry - found), 3, b
            if k <= b and abs(idle[b, k] + entry - found) < off:
                how, first = 4, b
        for slot in range(first, t + 1):
            where[p.first[j] + slot] = p.pair_pool[q]
            size[p.first[j] + slot] = p.pair_from[q]
        if how == 2 or how == 3 or (how == 1 and t == 0):
            break
        if how == 1:
            t -= 1
            continue
        while b > 0 and idle[b, k] != run[b - 1, k]:
            b -= 1
        if b <= 1:  # parked or running there from the very beginning: nothing before
            break
        t = b - 2
    return best


@inlined
def _entry(cost: Floats, toll: Floats, first: int, t: int) -> float:
    """What slot t costs where the restart before it begins at slot `first`."""
    entry: float = toll[first] + cost[t]
    for slot in range(first, t):
        entry += cost[slot]
    return entry


@inlined
def _contiguous(p: Arrays, j: int, q: int, cost: Floats, toll: Floats, scale: float, where: Any, size: Any) -> float:
    """One unbroken stretch in pair q of one size: a sliding sum. A running job can only go on; a lost one pays its
    restart."""
    begin, window, wait, least = p.first[j], p.last[j] - p.first[j], p.wait_g[j], p.least[j]
    mode = p.pair_mode[q]
    if mode == CLOSED:
        return np.inf
    length = p.size_slots[p.size_at[j] + p.pair_from[q]] + (p.gap[j] if mode in (PARKED, ARRIVES) else 0)
    entry = scale * p.pair_move_g[q] if mode in (FRESH, ARRIVES) else 0.0
    earliest = p.pair_move_slots[q] if mode in (FRESH, ARRIVES) else 0
    latest = 0 if mode == RUNNING else window - length
    best, best_start = np.inf, -1
    total, blocked = 0.0, 0
    for t in range(min(window, latest + length)):
        if cost[t] == np.inf:
            blocked += 1
        else:
            total += cost[t]
        left = t - length
        if left >= 0:
            if cost[left] == np.inf:
                blocked -= 1
            else:
                total -= cost[left]
        start = left + 1
        if start < earliest or start < 0 or blocked > 0:
            continue
        value = total + entry + wait * max(0, t + 1 - least)
        if mode in (PARKED, ARRIVES):
            value += toll[start]
        if best == np.inf or value < best - _SAME * abs(best):
            best, best_start = value, start
    if best_start < 0:
        return np.inf
    where[:] = -1
    size[:] = 0
    for t in range(best_start, best_start + length):
        where[begin + t] = p.pair_pool[q]
        size[begin + t] = p.pair_from[q]
    return best
