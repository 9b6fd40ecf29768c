"""One job at a time, exactly: its best schedule at given prices and free GPUs, and what a schedule costs.

A schedule of job j is a row of two small arrays over the slots: `where` (pool, -1 for none) and `size` (index into the
job's sizes). `strength` x `price` (P, T) is added per GPU and slot, `free` (P, T) are GPUs that may be taken, `scale`
multiplies the job's carbon (its budget's price). `schedule` has the same in numpy; the tests hold them together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import ARRIVES, BESIDE, CLOSED, FRESH, PARKED, RUNNING, Arrays
from .jit import inlined, jit
from .onepool import solve_one
from .problem import Floats, Ints

_SAME = 1e-9  # relative; differences below it are rounding, and the earlier end or the earlier region wins


class Row(NamedTuple):
    """A schedule (T,), and a second one to try."""

    where: Any
    size: Any
    spare: Any
    spare_size: Any


@inlined
def _one_size(p: Arrays, qa: int, qb: int) -> bool:
    """Whether the pairs [qa, qb) are of one size, the same for all."""
    for q in range(qa, qb):
        if p.pair_to[q] - p.pair_from[q] != 1 or p.pair_from[q] != p.pair_from[qa]:
            return False
    return qb > qa


@jit
def solve(
    p: Arrays,
    j: int,
    qa: int,
    qb: int,
    price: Floats,
    strength: float,
    free: Ints,
    scale: float,
    where: Any,
    size: Any,
) -> float:
    """The least objective of job j over its pairs [qa, qb), prices included; the schedule is written into the rows.

    `where` and `size` are (T,) rows and are only written where a schedule exists; inf where none does. Dynamic program
    over slot, pool and quanta done: O(pools x slots x quanta x sizes). Among equals the earliest to end, then the first
    pair, wins.
    """
    begin, end, gap = p.first[j], p.last[j], p.gap[j]
    window, nq = end - begin, qb - qa
    alone = _one_size(p, qa, qb)  # counts slots in place of quanta, which is exact
    sa, ns = p.size_at[j], p.size_at[j + 1] - p.size_at[j]
    target = p.size_slots[sa + p.pair_from[qa]] if alone else p.work[j]
    least, wait = p.least[j], p.wait_g[j]
    if window < 1 or target < 1 or nq < 1 or window < least:
        return np.inf
    cost = np.empty((nq, ns, window))
    toll = np.empty((nq, window))
    for q in range(nq):
        pool, factor = p.pair_pool[qa + q], p.pair_factor[qa + q]
        for t in range(window):
            gram = scale * p.grams[pool, begin + t] + p.price_factor[j] * p.extra[pool, begin + t]
            toll[q, t] = (p.restart_kwh[j] + p.caution_kwh[j]) * gram
            for s in range(ns):
                gpus = p.size_gpus[sa + s]
                if free[pool, begin + t] < gpus:
                    cost[q, s, t] = np.inf
                else:
                    cost[q, s, t] = p.size_kwh[sa + s] * factor * gram + gpus * strength * price[pool, begin + t]
    fastest = 1
    for s in range(ns if not alone else 0):
        fastest = max(fastest, p.size_quanta[sa + s])
    run = np.full((nq, window + 1, target + 1), np.inf)
    idle = np.full((nq, window + 1, target + 1), np.inf)
    joint = p.movable[j] == 1 and nq > 1
    nj = window + 1 if joint else 1
    low = np.full((nj, target + 1), np.inf)  # per boundary and quanta: the cheapest idle pool, and the next cheapest
    low_pool = np.full((nj, target + 1), -1)
    next_low = np.full((nj, target + 1), np.inf)
    for q in range(nq):
        mode = p.pair_mode[qa + q]
        if mode == RUNNING:
            run[q, 0, 0] = 0.0
        elif mode == PARKED:
            idle[q, 0, 0] = 0.0
    best, best_q, best_t = np.inf, -1, -1
    for t in range(window):
        k_low = max(0, target - (window - t) * fastest)
        k_high = min(target - 1, t * fastest)
        for q in range(nq):
            for k in range(k_low, k_high + 1):
                idle[q, t + 1, k] = min(idle[q, t, k], run[q, t, k])
            if t == 0 and p.stays[j] == 1 and p.pair_mode[qa + q] == RUNNING:
                for s in range(p.pair_from[qa + q], p.pair_to[qa + q]):
                    if cost[q, s, 0] < np.inf:
                        idle[q, 1, 0] = np.inf
        if joint:
            for q in range(nq):
                pool = p.pair_pool[qa + q]
                for k in range(k_low, k_high + 1):
                    value = idle[q, t + 1, k]
                    if value < low[t, k]:
                        if pool != low_pool[t, k]:
                            next_low[t, k] = low[t, k]
                        low[t, k] = value
                        low_pool[t, k] = pool
                    elif value < next_low[t, k] and pool != low_pool[t, k]:
                        next_low[t, k] = value
        b = t - gap
        for q in range(nq):
            pool, mode = p.pair_pool[qa + q], p.pair_mode[qa + q]
            move_g, ready = scale * p.pair_move_g[qa + q], p.pair_move_slots[qa + q]
            for s in range(p.pair_from[qa + q], p.pair_to[qa + q]):
                step = cost[q, s, t]
                if step == np.inf:
                    continue
                quanta = 1 if alone else p.size_quanta[sa + s]
                for k in range(k_low, k_high + 1):
                    value = run[q, t, k] + step
                    done = min(target, k + quanta)
                    if value < run[q, t + 1, done]:
                        run[q, t + 1, done] = value
                if mode == FRESH and t >= ready and k_low == 0:
                    done = min(target, quanta)
                    value = move_g + step
                    if value < run[q, t + 1, done]:
                        run[q, t + 1, done] = value
                if b < 0:
                    continue
                entry = toll[q, b] + step
                for g in range(b, t):
                    entry += cost[q, s, g]
                if entry == np.inf or (mode == FRESH and p.suspendable[j] == 0):
                    continue
                if mode == ARRIVES and b >= ready and k_low == 0:
                    done = min(target, quanta)
                    value = move_g + entry
                    if value < run[q, t + 1, done]:
                        run[q, t + 1, done] = value
                only_first = p.suspendable[j] == 0  # elastic without a checkpoint: it may only start once
                for k in range(k_low, k_high + 1):
                    if only_first and (k > 0 or mode != PARKED):
                        break
                    value = idle[q, b, k]
                    if joint:
                        for other_q in range(nq):  # other sizes in the same pool
                            if other_q != q and p.pair_pool[qa + other_q] == pool:
                                value = min(value, idle[other_q, b + 1, k])
                        if b >= ready:
                            other = low[b - ready, k] if low_pool[b - ready, k] != pool else next_low[b - ready, k]
                            value = min(value, other + move_g)
                    value += entry
                    done = min(target, k + quanta)
                    if value < run[q, t + 1, done]:
                        run[q, t + 1, done] = value
        for q in range(nq):
            total = run[q, t + 1, target] + wait * max(0, t + 1 - least)
            if total < best and (best == np.inf or total < best - _SAME * abs(best)):
                best, best_q, best_t = total, q, t
    if best_q < 0:
        return np.inf
    where[:] = -1
    size[:] = 0
    # Walk back: which earlier state and size gave the value of this one.
    q, t, k = best_q, best_t, target
    while True:
        pool, mode = p.pair_pool[qa + q], p.pair_mode[qa + q]
        move_g, ready = scale * p.pair_move_g[qa + q], p.pair_move_slots[qa + q]
        off, how, from_k, with_s, from_q = np.inf, 0, 0, 0, q
        for s in range(p.pair_from[qa + q], p.pair_to[qa + q]):
            step = cost[q, s, t]
            if step == np.inf:
                continue
            quanta = 1 if alone else p.size_quanta[sa + s]
            k_low = k - quanta if k < target else max(0, k - quanta)
            k_high = k - quanta if k < target else target - 1
            for before in range(max(0, k_low), k_high + 1):
                value = abs(run[q, t, before] + step - run[q, t + 1, k])
                if value < off:
                    off, how, from_k, with_s = value, 1, before, s
                if before == 0 and mode == FRESH and t >= ready:
                    value = abs(move_g + step - run[q, t + 1, k])
                    if value < off:
                        off, how, from_k, with_s = value, 2, 0, s
                b = t - gap
                if b < 0 or (p.suspendable[j] == 0 and (before > 0 or mode not in (PARKED, ARRIVES))):
                    continue
                entry = toll[q, b] + step
                for g in range(b, t):
                    entry += cost[q, s, g]
                if before == 0 and mode == ARRIVES and b >= ready:
                    value = abs(move_g + entry - run[q, t + 1, k])
                    if value < off:
                        off, how, from_k, with_s = value, 3, 0, s
                value = abs(idle[q, b, before] + entry - run[q, t + 1, k])
                if value < off:
                    off, how, from_k, with_s = value, 4, before, s
                if joint and b >= ready:
                    other = low[b - ready, before]
                    if low_pool[b - ready, before] == pool:
                        other = next_low[b - ready, before]
                    value = abs(other + move_g + entry - run[q, t + 1, k])
                    if value < off:
                        off, how, from_k, with_s = value, 5, before, s
                if joint:
                    for other_q in range(nq):
                        if other_q != q and p.pair_pool[qa + other_q] == pool:
                            value = abs(idle[other_q, b + 1, before] + entry - run[q, t + 1, k])
                            if value < off:
                                off, how, from_k, with_s, from_q = value, 6, before, s, other_q
        where[begin + t] = pool
        size[begin + t] = with_s
        k = from_k
        if how >= 3:
            for g in range(t - gap, t):
                where[begin + g] = pool
                size[begin + g] = with_s
        if how == 2 or how == 3:
            break
        if how == 1:
            if t == 0:
                break
            t -= 1
            continue
        boundary = t - gap
        if how == 6:
            boundary += 1
            q = from_q
        if how == 5:
            boundary += 1 - ready
            wanted = low[t - gap - ready, k]
            if low_pool[t - gap - ready, k] == pool:
                wanted = next_low[t - gap - ready, k]
            for other_q in range(nq):
                if p.pair_pool[qa + other_q] != pool and idle[other_q, boundary, k] == wanted:
                    q = other_q
                    break
        while boundary > 0 and idle[q, boundary, k] != run[q, boundary - 1, k]:
            boundary -= 1
        if boundary <= 1:  # parked or running there from the very beginning: nothing before
            break
        t = boundary - 2
    return best


@inlined
def cost_of(p: Arrays, j: int, scale: float, where: Any, size: Any) -> float:
    """The objective of a schedule of job j, without prices on GPUs."""
    return _weighed(p, j, scale, 1.0, where, size)


@inlined
def carbon_of(p: Arrays, j: int, where: Any, size: Any) -> float:
    """Grams of carbon of a schedule of job j."""
    return _weighed(p, j, 1.0, 0.0, where, size)


@jit
def _weighed(p: Arrays, j: int, carbon: float, other: float, where: Any, size: Any) -> float:
    """`carbon` times the grams of a schedule of job j + `other` times its other prices, waiting included."""
    total, previous, last, end = 0.0, -1, -1, 0  # the pair of the slot before, the last pool
    restart_kwh = p.restart_kwh[j] + other * p.caution_kwh[j]
    for t in range(p.first[j], p.last[j]):
        pool = where[t]
        if pool < 0:
            previous = -1
            continue
        q = p.pair_at[j]
        while p.pair_pool[q] != pool or not p.pair_from[q] <= size[t] < p.pair_to[q]:
            q += 1
        gram = carbon * p.grams[pool, t] + other * p.price_factor[j] * p.extra[pool, t]
        s = p.size_at[j] + size[t]
        total += p.size_kwh[s] * p.pair_factor[q] * gram
        mode = p.pair_mode[q]
        if last < 0:
            if mode in (FRESH, ARRIVES, CLOSED):
                total += carbon * p.pair_move_g[q]
            if mode in (PARKED, ARRIVES, CLOSED, BESIDE) or (mode == RUNNING and t > p.first[j]):
                total += restart_kwh * gram
        elif previous != q:
            total += restart_kwh * gram
            if last != pool:
                total += carbon * p.pair_move_g[q]
        previous, last, end = q, pool, t + 1
    grams: float = total + other * p.wait_g[j] * max(0, end - p.first[j] - p.least[j])
    return grams


@inlined
def solve_pair(
    p: Arrays, j: int, q: int, price: Floats, strength: float, free: Ints, scale: float, where: Any, size: Any
) -> float:
    """The same over pair q alone."""
    if p.pair_to[q] - p.pair_from[q] == 1:
        value: float = solve_one(p, j, q, price, strength, free, scale, where, size)
    else:
        value = solve(p, j, q, q + 1, price, strength, free, scale, where, size)
    return value


@jit
def together(p: Arrays, j: int, price: Floats, strength: float, free: Ints, scale: float, row: Row) -> float:
    """The least objective of job j over all its pairs, between which it may change, written into `row`.

    Where quanta round its work, each size is tried by itself as well: no plan is worse than one size throughout.
    """
    pa, pb = p.pair_at[j], p.pair_at[j + 1]
    best: float = solve(p, j, pa, pb, price, strength, free, scale, row.where, row.size)
    begin = pa
    while p.exact[j] == 0 and begin < pb:
        end = begin + 1
        while end < pb and p.pair_from[end] == p.pair_from[begin]:
            end += 1
        value = solve(p, j, begin, end, price, strength, free, scale, row.spare, row.spare_size)
        if value < best:
            best = value
            row.where[:] = row.spare
            row.size[:] = row.spare_size
        begin = end
    return best


@jit
def cheapest(
    p: Arrays,
    j: int,
    price: Floats,
    strength: float,
    free: Ints,
    scale: float,
    floor: Floats,
    found: Floats,
    limit: float,
    row: Row,
) -> float:
    """The least objective of job j over all its pairs, below `limit`, written into `row`; inf where there is none.

    `floor` (Q,) is at most what each pair can give: pairs are tried from the lowest on, and not once they cannot win.
    What was tried is noted in `found` (Q,).
    """
    pa, pb = p.pair_at[j], p.pair_at[j + 1]
    if p.movable[j] == 1 and pb - pa > 1:
        value: float = together(p, j, price, strength, free, scale, row)
        return value if value < limit else np.inf
    best, best_q = limit, -1
    tried = np.zeros(pb - pa, dtype=np.bool_)
    for _ in range(pb - pa):
        q = -1
        for other in range(pa, pb):
            if not tried[other - pa] and (q < 0 or floor[other] < floor[q]):
                q = other
        if floor[q] >= best:
            break
        tried[q - pa] = True
        value = solve_pair(p, j, q, price, strength, free, scale, row.spare, row.spare_size)
        found[q] = value
        if value < best and (best_q < 0 or value < best - _SAME * abs(best) or q < best_q):
            best, best_q = value, q
            row.where[:] = row.spare
            row.size[:] = row.spare_size
    return best if best_q >= 0 else np.inf


@jit
def blank(slots: int) -> Row:
    """Room for one schedule and a second one to try."""
    return Row(
        np.full(slots, -1, dtype=np.int16),
        np.zeros(slots, dtype=np.int8),
        np.full(slots, -1, dtype=np.int16),
        np.zeros(slots, dtype=np.int8),
    )
