"""The exact best schedule of one job, in numpy: the twin of `kernels.solve` and `onepool.solve_one`, to the last bit.

Small problems are planned with it alone, so that a command of one job waits for no compiler; the tests hold the two
against each other and against enumeration.

State at the boundary of two slots: quanta of work done, and either running in a pool or idle with that as the last one.
A slot's work costs its grams; a start costs nothing (the first), or restart slots plus restart energy (a resume), plus
the grams of moving where the pool changes. A run that stops cannot resume in the same pool in the same moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .arrays import ARRIVES, BESIDE, CLOSED, FRESH, PARKED, RUNNING, Arrays
from .problem import Floats, Ints

_SAME = 1e-9
Rows = tuple[float, Any, Any]


def best_rows(p: Arrays, j: int, free: Ints, *, price: Floats | None = None, scale: float = 1.0) -> Rows:
    """(objective, where, size) of job j over all its pairs under `free` GPUs; objective inf where nothing fits."""
    pa, pb = int(p.pair_at[j]), int(p.pair_at[j + 1])
    slots = p.grams.shape[1]
    found: Rows = (np.inf, np.full(slots, -1, dtype=np.int16), np.zeros(slots, dtype=np.int8))
    groups = [(q, q + 1) for q in range(pa, pb)]
    if p.movable[j] and pb - pa > 1:
        starts = [pa, *(q for q in range(pa + 1, pb) if p.pair_from[q] != p.pair_from[q - 1]), pb]
        groups = [(pa, pb), *([] if p.exact[j] else pairwise(starts))]  # each size by itself is exact
    for qa, qb in groups:
        made = solve(p, j, qa, qb, free, price=price, scale=scale)
        if made[0] < found[0] and (found[0] == np.inf or made[0] < found[0] - _SAME * abs(found[0])):
            found = made
    return found


def solve(p: Arrays, j: int, qa: int, qb: int, free: Ints, *, price: Floats | None = None, scale: float = 1.0) -> Rows:
    """The same for pairs [qa, qb) together: the job may change between them."""
    begin, end, gap = int(p.first[j]), int(p.last[j]), int(p.gap[j])
    window, nq, slots = end - begin, qb - qa, p.grams.shape[1]
    nothing: Rows = (np.inf, np.full(slots, -1, dtype=np.int16), np.zeros(slots, dtype=np.int8))
    if window < 1 or nq < 1 or window < p.least[j]:
        return nothing
    starts, ends = p.pair_from[qa:qb], p.pair_to[qa:qb]
    alone = bool((ends - starts == 1).all() and (starts == starts[0]).all())  # counts slots, not quanta: exact
    target = int(p.size_slots[p.size_at[j] + starts[0]] if alone else p.work[j])
    if target < 1:
        return nothing
    sizes = slice(int(p.size_at[j]), int(p.size_at[j + 1]))
    gpus, kwh = p.size_gpus[sizes], p.size_kwh[sizes]
    quanta = np.ones_like(gpus) if alone else p.size_quanta[sizes]
    pools, factor = p.pair_pool[qa:qb], p.pair_factor[qa:qb]
    gram = scale * p.grams[pools, begin:end] + p.price_factor[j] * p.extra[pools, begin:end]
    cost = kwh[None, :, None] * factor[:, None, None] * gram[:, None, :]
    if price is not None:
        cost = cost + gpus[None, :, None] * price[pools, begin:end][:, None, :]
    cost = np.where(free[pools, begin:end][:, None, :] < gpus[None, :, None], np.inf, cost)
    toll = (p.restart_kwh[j] + p.caution_kwh[j]) * gram
    if nq == 1 and alone and not p.suspendable[j]:
        return _contiguous(p, j, qa, cost=cost[0, starts[0]], toll=toll[0], scale=scale) or nothing
    modes, move_g, ready = p.pair_mode[qa:qb], scale * p.pair_move_g[qa:qb], p.pair_move_slots[qa:qb]
    suspendable, joint = bool(p.suspendable[j]), bool(p.movable[j]) and nq > 1
    run = np.full((nq, window + 1, target + 1), np.inf)
    idle = np.full((nq, window + 1, target + 1), np.inf)
    run[modes == RUNNING, 0, 0] = 0.0
    idle[modes == PARKED, 0, 0] = 0.0
    other_pools = [pools != pool for pool in pools]
    other_sizes = [[r for r in range(nq) if r != q and pools[r] == pools[q]] for q in range(nq)]
    # How each state was reached: (what, size, quanta before); 1 went on, 2 started, 3 arrived, 4 resumed, 5 moved here,
    # 6 and above resized: from the pair 6 less than that.
    how = np.zeros((nq, window, target + 1), dtype=np.int16)
    by = np.zeros((nq, window, target + 1), dtype=np.int16)
    before = np.zeros((nq, window, target + 1), dtype=np.int32)
    least, wait = int(p.least[j]), float(p.wait_g[j])
    best, best_q, best_t = np.inf, -1, -1
    for t in range(window):
        idle[:, t + 1, :target] = np.minimum(idle[:, t, :target], run[:, t, :target])
        if t == 0 and p.stays[j]:
            for q in np.flatnonzero(modes == RUNNING).tolist():
                if np.isfinite(cost[q, starts[q] : ends[q], 0]).any():
                    idle[q, 1, 0] = np.inf
        for q in range(nq):
            for s in range(starts[q], ends[q]):
                step = cost[q, s, t]
                if step == np.inf:
                    continue
                reach = _Reach(run[q, t + 1], how[q, t], by[q, t], before[q, t], size=s, quanta=int(quanta[s]))
                reach.offer(run[q, t, :target] + step, 1)
                if modes[q] == FRESH and t >= ready[q]:
                    reach.offer(np.array([move_g[q] + step]), 2)
                b = t - gap
                if b < 0 or (modes[q] == FRESH and not suspendable):
                    continue
                entry = toll[q, b] + step
                for g in range(b, t):
                    entry += cost[q, s, g]
                if entry == np.inf:
                    continue
                if modes[q] == ARRIVES and b >= ready[q]:
                    reach.offer(np.array([move_g[q] + entry]), 3)
                if not suspendable:
                    if modes[q] == PARKED:
                        reach.offer(idle[q, b, :1] + entry, 4)
                    continue
                reach.offer(idle[q, b, :target] + entry, 4)
                if not joint:
                    continue
                if b >= ready[q] and other_pools[q].any():
                    others = idle[other_pools[q], b - ready[q] + 1, :target].min(axis=0)
                    reach.offer(others + move_g[q] + entry, 5)
                for r in other_sizes[q]:
                    reach.offer(idle[r, b + 1, :target] + entry, 6 + r)
        for q in range(nq):
            total = run[q, t + 1, target] + wait * max(0, t + 1 - least)
            if total < best and (best == np.inf or total < best - _SAME * abs(best)):
                best, best_q, best_t = float(total), q, t
    if best_q < 0:
        return nothing
    where, size = nothing[1], nothing[2]
    q, t, k = best_q, best_t, target
    while True:
        kind, s, earlier = int(how[q, t, k]), int(by[q, t, k]), int(before[q, t, k])
        begun = t - gap if kind >= 3 else t
        where[begin + begun : begin + t + 1], size[begin + begun : begin + t + 1] = pools[q], s
        k = earlier
        if kind in (2, 3) or (kind == 1 and t == 0):
            break
        if kind == 1:
            t -= 1
            continue
        boundary = begun
        if kind == 5:
            boundary += 1 - int(ready[q])
            wanted = idle[other_pools[q], boundary, k].min()
            q = next(r for r in range(nq) if other_pools[q][r] and idle[r, boundary, k] == wanted)
        elif kind >= 6:
            boundary, q = boundary + 1, kind - 6
        while boundary > 0 and idle[q, boundary, k] != run[q, boundary - 1, k]:
            boundary -= 1
        if boundary <= 1:
            break
        t = boundary - 2
    return best, where, size


@dataclass(frozen=True)
class _Reach:
    """The states one slot of work on one size leads to: least value, and how it was reached, by quanta done."""

    value: Floats
    how: Ints
    by: Ints
    before: Ints
    size: int
    quanta: int

    def offer(self, values: Floats, kind: int) -> None:
        """`values[k]`: what it takes to have worked this slot with `k` quanta done before it; the least is kept."""
        target = len(self.value) - 1
        split = max(0, min(len(values), target - self.quanta))
        better = np.flatnonzero(values[:split] < self.value[self.quanta : self.quanta + split])
        self._keep(better + self.quanta, values[better], kind, better)
        if split < len(values):  # all of these finish the work
            k = split + int(values[split:].argmin())
            if values[k] < self.value[target]:
                self._keep(target, values[k], kind, k)

    def _keep(self, at: Any, values: Any, kind: int, before: Any) -> None:
        self.value[at], self.how[at], self.by[at], self.before[at] = values, kind, self.size, before


def _contiguous(p: Arrays, j: int, q: int, *, cost: Floats, toll: Floats, scale: float) -> Rows | None:
    """One unbroken stretch in pair q of one size. A running job can only go on; one that was lost pays its restart."""
    begin, window, wait, slots = int(p.first[j]), len(cost), float(p.wait_g[j]), p.grams.shape[1]
    mode = p.pair_mode[q]
    if mode == CLOSED:
        return None
    length = int(p.size_slots[p.size_at[j] + p.pair_from[q]]) + (int(p.gap[j]) if mode in (PARKED, ARRIVES) else 0)
    entry = scale * p.pair_move_g[q] if mode in (FRESH, ARRIVES) else 0.0
    earliest = int(p.pair_move_slots[q]) if mode in (FRESH, ARRIVES) else 0
    latest = 0 if mode == RUNNING else window - length
    best: tuple[float, int] | None = None
    total, blocked = 0.0, 0
    for t in range(min(window, latest + length)):
        for slot, sign in ((t, 1), (t - length, -1)):
            if slot >= 0 and cost[slot] == np.inf:
                blocked += sign
            elif slot >= 0:
                total += sign * cost[slot]
        start = t - length + 1
        if start < max(0, earliest) or blocked > 0:
            continue
        value = total + entry + wait * max(0, t + 1 - int(p.least[j]))
        if mode in (PARKED, ARRIVES):
            value += toll[start]
        if best is None or value < best[0] - _SAME * abs(best[0]):
            best = (float(value), start)
    if best is None:
        return None
    where, size = np.full(slots, -1, dtype=np.int16), np.zeros(slots, dtype=np.int8)
    where[begin + best[1] : begin + best[1] + length] = p.pair_pool[q]
    size[begin + best[1] : begin + best[1] + length] = p.pair_from[q]
    return best[0], where, size


def weighed(p: Arrays, j: int, where: Any, size: Any) -> tuple[float, float]:
    """(grams of carbon, other prices in grams) of a schedule of job j; the twin of `kernels.cost_of`."""
    busy = np.flatnonzero(where >= 0)
    pools = where[busy].astype(np.int64)
    pairs = {
        (int(p.pair_pool[q]), s): q
        for q in range(int(p.pair_at[j]), int(p.pair_at[j + 1]))
        for s in range(int(p.pair_from[q]), int(p.pair_to[q]))
    }
    of = np.array([pairs[pool, s] for pool, s in zip(pools.tolist(), size[busy].tolist(), strict=True)], dtype=np.int64)
    kwh = p.size_kwh[p.size_at[j] + size[busy]] * p.pair_factor[of]
    carbon, other = float(kwh @ p.grams[pools, busy]), float(p.price_factor[j] * (kwh @ p.extra[pools, busy]))
    begins = np.flatnonzero((np.diff(busy, prepend=-2) != 1) | (np.diff(of, prepend=-2) != 0))
    last = -1
    for index in begins.tolist():
        pool, slot, q = int(pools[index]), int(busy[index]), int(of[index])
        mode = p.pair_mode[q]
        first = last < 0
        if (first and mode in (FRESH, ARRIVES, CLOSED)) or (not first and last != pool):
            carbon += float(p.pair_move_g[q])
        if not first or mode in (PARKED, ARRIVES, CLOSED, BESIDE) or (mode == RUNNING and slot > p.first[j]):
            carbon += float(p.restart_kwh[j] * p.grams[pool, slot])
            other += float(p.price_factor[j] * (p.restart_kwh[j] + p.caution_kwh[j]) * p.extra[pool, slot])
            other += float(p.caution_kwh[j] * p.grams[pool, slot])
        last = pool
    late = max(0, int(busy[-1]) + 1 - int(p.first[j]) - int(p.least[j])) if len(busy) else 0
    return carbon, other + float(p.wait_g[j]) * late
