"""Gangs that do not fit beside each other: rows that make the bound of few jobs nearly exact.

Prices per GPU let two thirds of a gang of 64 run beside the 21 GPUs it would leave; whole gangs cannot. For a job j
of g GPUs where C are free, and a level k: if units w_b = floor((k g_b - 1) / (C - g)) of the gangs beside it add up to
k, more than C - g GPUs are taken and j cannot be there; and where g <= C / (k + 1) they never add up to more. So

    x_j + sum over b of w_b x_b <= k            for every job, pool, slot and level

holds for every plan, and its multiplier is paid by j and, w_b times, by the others. Only worth it where few pools are
crowded: one multiplier per job and slot there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .arrays import Arrays
from .jit import jit
from .kernels import blank
from .prices import Ascent, Duals, climb, memory_of, scale_of
from .problem import Floats, Ints
from .sweeps import Memory, choose

_LEVELS = 2


class Rows(NamedTuple):
    """The crowded pools, by seat: `seat` (P,) or -1, `units` (seats, T, levels, S, S) that a gang (last) counts beside
    a job of a size (last but one). `gpus` (S,) are the sizes, `kind` (J,) the job's, -1 if it has several; `row_of`
    (Q, levels) numbers the rows, -1 for none."""

    seat: Ints
    gpus: Ints
    kind: Ints
    units: Ints
    row_of: Ints


@jit
def _units(cap: Ints, gpus: Ints, units: Ints) -> None:
    for seat in range(cap.shape[0]):
        for t in range(cap.shape[1]):
            for level in range(units.shape[2]):
                k = level + 1
                for own in range(len(gpus)):
                    left = cap[seat, t] - gpus[own]
                    if left <= 0 or gpus[own] * (k + 1) > cap[seat, t]:
                        continue
                    for other in range(len(gpus)):
                        units[seat, t, level, own, other] = (k * gpus[other] - 1) // left


@jit
def _round(
    p: Arrays,
    rows: Rows,
    base: Floats,
    paid_own: Floats,
    scale: Floats,
    wanted: Ints,
    known: Memory,
    before: Floats,
    use: Ints,
    broken: Floats,
) -> float:
    """Every wanted job at its best: what they pay. `base` (seats, T) per GPU, `paid_own` (rows, T) per GPU of the row's
    job; `before` (Q, T) is what each pair paid the last time. `use` (seats, T) and `broken` (rows, T) are the rows'
    sums less what they may be."""
    seats, slots = base.shape
    levels, kinds, pools = rows.units.shape[2], len(rows.gpus), p.grams.shape[0]
    toll = np.zeros((kinds, seats, slots))  # what one of a size pays for standing in others' way
    total = np.zeros((levels, kinds, seats, slots))
    for j in range(len(p.first)):
        if rows.kind[j] < 0:
            continue
        for q in range(p.pair_at[j], p.pair_at[j + 1]):
            seat = rows.seat[p.pair_pool[q]]
            for level in range(levels):
                row = rows.row_of[q, level]
                if row >= 0:
                    for t in range(p.first[j], p.last[j]):
                        total[level, rows.kind[j], seat, t] += paid_own[row, t] * rows.gpus[rows.kind[j]]
    for seat in range(seats):
        for t in range(slots):
            for level in range(levels):
                for own in range(kinds):
                    if total[level, own, seat, t] > 0:
                        for other in range(kinds):
                            toll[other, seat, t] += rows.units[seat, t, level, own, other] * total[level, own, seat, t]
    price = np.zeros((pools, slots))
    there = np.zeros((kinds, seats, slots), dtype=np.int64)
    spare = blank(slots)
    paid = 0.0
    for j in range(len(p.first)):
        if wanted[j] == 0:
            continue
        kind = rows.kind[j]
        for q in range(p.pair_at[j], p.pair_at[j + 1]):
            pool = p.pair_pool[q]
            seat = rows.seat[pool]
            if seat < 0:
                continue
            fallen, touched = 0.0, False
            for t in range(p.first[j], p.last[j]):
                now = base[seat, t]
                if kind >= 0:
                    now += toll[kind, seat, t] / rows.gpus[kind]
                    for level in range(levels):
                        if rows.row_of[q, level] >= 0:
                            now += paid_own[rows.row_of[q, level], t]
                price[pool, t] = now
                if now != before[q, t]:
                    touched = True
                    fallen = max(fallen, before[q, t] - now)
                    before[q, t] = now
            if touched:
                known.exact[q] = False
                known.floor[q] -= known.weight[q] * fallen * (1 + 1e-12)
        paid += choose(p, j, price, scale[j], p.drop_g[j] if wanted[j] == 1 else np.inf, known, spare)
        if known.best[j] < 0:
            continue
        for t in range(p.first[j], p.last[j]):
            if known.where[j, t] >= 0 and rows.seat[known.where[j, t]] >= 0:
                seat = rows.seat[known.where[j, t]]
                use[seat, t] += p.size_gpus[p.size_at[j] + known.size[j, t]]
                if kind >= 0:
                    there[kind, seat, t] += 1
    load = np.zeros((levels, kinds, seats, slots), dtype=np.int64)
    for seat in range(seats):
        for t in range(slots):
            for other in range(kinds):
                if there[other, seat, t] > 0:
                    for level in range(levels):
                        for own in range(kinds):
                            units = rows.units[seat, t, level, own, other]
                            load[level, own, seat, t] += units * there[other, seat, t]
    for j in range(len(p.first)):
        kind = rows.kind[j]
        if kind < 0 or wanted[j] == 0:
            continue
        for q in range(p.pair_at[j], p.pair_at[j + 1]):
            pool = p.pair_pool[q]
            for level in range(levels):
                row = rows.row_of[q, level]
                if row < 0:
                    continue
                for t in range(p.first[j], p.last[j]):
                    own = 1 if known.best[j] >= 0 and known.where[j, t] == pool else 0
                    over = own + load[level, kind, rows.seat[pool], t] - (level + 1)
                    broken[row, t] = over * rows.gpus[kind]
    return paid


def tightened(
    p: Arrays,
    found: Ascent,
    floor: Floats,
    *,
    limits_g: Floats,
    wanted: Ints,
    least: float,
    iterations: int,
    enough: Callable[[float], bool],
) -> Ascent:
    """`found` with a bound that knows of gangs that exclude each other; `least` is what a plan is known to reach.

    The prices stay what they were. `floor` (Q,): what each pair costs at no price.
    """
    crowded = np.flatnonzero((found.gpu_g > 0).any(axis=1))
    rows = _rows(p, crowded, wanted)
    count = int(rows.row_of.max(initial=-1)) + 1
    if not count or not least > found.bound:
        return found
    cap, slots = p.cap[crowded], p.cap.shape[1]
    scale, known = scale_of(p, found.budget), memory_of(p, floor)
    known.scale[:] = scale
    if len(limits_g):
        known.floor[:] = -np.inf
    before = np.zeros((len(p.pair_pool), slots))
    level_of, gpus_of = _owners(p, rows, count)
    fixed = float((found.budget * limits_g).sum())

    def dual(at: Duals) -> tuple[float, Duals]:
        use, broken = np.zeros(cap.shape, dtype=np.int64), np.zeros((count, slots))
        paid = _round(p, rows, at[0], at[1], scale, wanted, known, before, use, broken)
        value = paid - float((at[0] * cap).sum()) - float((level_of * gpus_of) @ at[1].sum(axis=1)) - fixed
        return value, ((use - cap).astype(np.float64), broken)

    start = (found.gpu_g[crowded], np.zeros((count, slots)))
    _, bound = climb(dual, start=start, aim=1.0, iterations=iterations, enough=enough, least=least)
    return Ascent(found.gpu_g, found.budget, max(found.bound, bound))


def _rows(p: Arrays, crowded: Ints, wanted: Ints) -> Rows:
    several = np.diff(p.size_at) > 1
    own: Ints = p.size_gpus[p.size_at[:-1]] if len(several) else np.zeros(0, dtype=np.int64)
    gpus = np.unique(own[~several])
    kind = np.where(several, -1, np.searchsorted(gpus, own)).astype(np.int64)
    seat = np.full(p.cap.shape[0], -1, dtype=np.int64)
    seat[crowded] = np.arange(len(crowded))
    units = np.zeros((len(crowded), p.cap.shape[1], _LEVELS, len(gpus), len(gpus)), dtype=np.int64)
    _units(p.cap[crowded], gpus, units)
    says: Any = units.any(axis=(1, 4))  # (seats, levels, S)
    row_of = np.full((len(p.pair_pool), _LEVELS), -1, dtype=np.int64)
    owner = np.repeat(np.arange(len(several)), np.diff(p.pair_at))
    at = seat[p.pair_pool]
    for level in range(_LEVELS):
        meant = (at >= 0) & (kind[owner] >= 0) & (wanted[owner] > 0)
        meant[meant] = says[at[meant], level, kind[owner[meant]]]
        row_of[meant, level] = row_of.max(initial=-1) + 1 + np.arange(int(meant.sum()))
    return Rows(seat, gpus.astype(np.int64), kind, units, row_of)


def _owners(p: Arrays, rows: Rows, count: int) -> tuple[Ints, Ints]:
    """(rows,) the level k of each row, and the GPUs of its job."""
    owner = np.repeat(np.arange(len(p.first)), np.diff(p.pair_at))
    k, gpus = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for level in range(_LEVELS):
        some = rows.row_of[:, level] >= 0
        k[rows.row_of[some, level]] = level + 1
        gpus[rows.row_of[some, level]] = rows.gpus[rows.kind[owner[some]]]
    return k, gpus
