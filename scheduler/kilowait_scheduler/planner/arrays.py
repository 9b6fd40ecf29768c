"""A problem as flat arrays, the shape in which the kernels read it.

Jobs are rows; what differs in number per job (sizes, pools it may use) lies in one long array with offsets. Work is
counted in integer quanta, so that progress of elastic jobs adds up exactly: `exact` quanta where the speeds allow it,
else speeds rounded down (a plan that truly finishes) or up (a relaxation, for bounds).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import numpy as np

from .problem import Floats, Ints, Pool, Problem, Task

# How a job may enter a pair with its first start. BESIDE: another size, in the pool in which it runs.
FRESH, PARKED, RUNNING, ARRIVES, CLOSED, BESIDE = 0, 1, 2, 3, 4, 5
# Of the dynamic program of one elastic job: slots x pools x sizes x quanta, tens of milliseconds; and quanta alone.
_MOST_STATES = 6_000_000
_FEWEST_QUANTA, _MOST_QUANTA = 200, 4000


class Arrays(NamedTuple):
    """Shapes: P pools, T slots, J jobs, S sizes and Q pairs over all jobs; grams, kWh and slots throughout.

    A pair is a pool with sizes [pair_from, pair_to) of its job between which it may change there for nothing: all of
    them, or one where to change the size is a restart, as is every change of the pair.

    `grams`, `extra` (P, T) carbon and other prices of a kWh; `cap` (P, T) GPUs. Sizes of job j are
    [size_at[j], size_at[j+1]), smallest first, its pairs [pair_at[j], pair_at[j+1]), in the order of its regions; those
    of one size each by size first. `size_slots`: slots that the work takes on a size alone, exactly; `exact`: whether
    quanta are so too.
    `drop_g` is what leaving a job out counts as: more than any way of doing it.
    """

    grams: Floats
    extra: Floats
    cap: Ints
    first: Ints
    last: Ints
    work: Ints
    exact: Ints
    least: Ints
    gap: Ints
    suspendable: Ints
    movable: Ints
    stays: Ints
    restart_kwh: Floats
    caution_kwh: Floats
    wait_g: Floats
    price_factor: Floats
    drop_g: Floats
    budget: Ints
    size_at: Ints
    size_gpus: Ints
    size_quanta: Ints
    size_slots: Ints
    size_kwh: Floats
    pair_at: Ints
    pair_pool: Ints
    pair_from: Ints
    pair_to: Ints
    pair_factor: Floats
    pair_move_g: Floats
    pair_move_slots: Ints
    pair_mode: Ints


def arrays_of(problem: Problem, *, round_up: bool = False) -> Arrays:
    """`problem` for the kernels; tasks in their order. `round_up`: speeds of elastic jobs that are not exact."""
    tasks, pools, slots = problem.tasks, problem.pools, problem.slots
    shape = (len(pools), slots)
    nothing = np.zeros(slots)
    grams = np.array([pool.g_per_kwh for pool in pools], dtype=np.float64).reshape(shape)
    prices = [nothing if pool.price_g_per_kwh is None else pool.price_g_per_kwh for pool in pools]
    extra = np.array(prices, dtype=np.float64).reshape(shape)
    cap = np.array([pool.capacity for pool in pools], dtype=np.int64).reshape(shape)
    rows = {name: index for index, name in enumerate(problem.budgets_g)}
    first = np.array([min(max(task.earliest, 0), slots) for task in tasks], dtype=np.int64)
    last = np.array([max(min(task.deadline, slots), 0) for task in tasks], dtype=np.int64)
    sizes = [size for task in tasks for size in _sorted(task)]
    there: dict[str, list[tuple[int, Pool]]] = {}
    for index, pool in enumerate(pools):
        there.setdefault(pool.region, []).append((index, pool))
    pairs = [_pairs(task, there) for task in tasks]
    states = (np.maximum(first, last) - first) * np.array(
        [sum(pair.to - pair.start for pair in of_task) for of_task in pairs]
    )
    counted = [_quanta(task, states=int(n), round_up=round_up) for task, n in zip(tasks, states, strict=True)]
    flat = [pair for of_task in pairs for pair in of_task]
    made = Arrays(
        grams=grams,
        extra=extra,
        cap=cap,
        first=first,
        last=np.maximum(first, last),
        work=np.array([each.work for each in counted], dtype=np.int64),
        exact=np.array([round_up or each.exact for each in counted], dtype=np.int64),
        least=np.array([task.least_slots for task in tasks], dtype=np.int64),
        gap=np.array([task.restart_slots for task in tasks], dtype=np.int64),
        suspendable=np.array([task.suspendable for task in tasks], dtype=np.int64),
        movable=np.array([task.suspendable and task.movable for task in tasks], dtype=np.int64),
        stays=np.array([task.running and task.stays for task in tasks], dtype=np.int64),
        restart_kwh=np.array([task.restart_kwh for task in tasks], dtype=np.float64),
        caution_kwh=np.array([task.caution_kwh for task in tasks], dtype=np.float64),
        wait_g=np.array([task.wait_g_per_slot for task in tasks], dtype=np.float64),
        price_factor=np.array([task.price_factor for task in tasks], dtype=np.float64),
        drop_g=np.zeros(len(tasks)),
        budget=np.array([rows.get(task.budget, -1) if task.budget else -1 for task in tasks], dtype=np.int64),
        size_at=_offsets([len(task.sizes) for task in tasks]),
        size_gpus=np.array([size.gpus for size in sizes], dtype=np.int64),
        size_quanta=np.array([quanta for each in counted for quanta in each.quanta], dtype=np.int64),
        size_slots=np.array(
            [math.ceil(task.work / size.speed - 1e-9) for task in tasks for size in _sorted(task)], dtype=np.int64
        ),
        size_kwh=np.array([size.kw * problem.slot_h for size in sizes], dtype=np.float64),
        pair_at=_offsets([len(of_task) for of_task in pairs]),
        pair_pool=np.array([pair.pool for pair in flat], dtype=np.int64),
        pair_from=np.array([pair.start for pair in flat], dtype=np.int64),
        pair_to=np.array([pair.to for pair in flat], dtype=np.int64),
        pair_factor=np.array([pair.factor for pair in flat], dtype=np.float64),
        pair_move_g=np.array([pair.move_g for pair in flat], dtype=np.float64),
        pair_move_slots=np.array([pair.move_slots for pair in flat], dtype=np.int64),
        pair_mode=np.array([pair.mode for pair in flat], dtype=np.int64),
    )
    return made._replace(drop_g=_drops(made, tasks))


def slice_of(p: Arrays, begin: int, end: int) -> Arrays:
    """Jobs [begin, end) alone, with all pools."""
    pairs = slice(int(p.pair_at[begin]), int(p.pair_at[end]))
    sizes = slice(int(p.size_at[begin]), int(p.size_at[end]))
    cut = {
        "pair_at": p.pair_at[begin : end + 1] - p.pair_at[begin],
        "size_at": p.size_at[begin : end + 1] - p.size_at[begin],
    }
    for name, values in p._asdict().items():
        if name in cut or name in ("grams", "extra", "cap"):
            continue
        part = pairs if name.startswith("pair_") else sizes if name.startswith("size_") else slice(begin, end)
        cut[name] = values[part]
    return p._replace(**cut)


def _offsets(counts: list[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)


def _sorted(task: Task) -> list:  # type: ignore[type-arg]
    return sorted(task.sizes, key=lambda size: size.gpus)


class _Pair(NamedTuple):
    pool: int
    start: int
    to: int
    factor: float
    move_g: float
    move_slots: int
    mode: int


def _pairs(task: Task, there: Mapping[str, list[tuple[int, Pool]]]) -> list[_Pair]:
    """The pools it may use, by its regions, with the sizes that go together there, smallest first."""
    usable = [(index, pool) for name in task.regions for index, pool in there.get(name, ()) if task.fits(pool)]
    fresh = task.ran_in is None
    known = not fresh and any(pool.region == task.ran_in for _, pool in usable)
    count = len(task.sizes)
    ranges = [(s, s + 1) for s in range(count)] if task.resize_restarts else [(0, count)]
    runs_at = next((s for s, size in enumerate(_sorted(task)) if size.gpus == task.ran_gpus), 0)
    home = None if fresh else task.home_of([pool for _, pool in usable])
    found = []
    for (start, to), (index, pool) in product(ranges, usable):
        mode = FRESH
        if not fresh:
            mode = _mode(task, here=pool is home if task.running else task.ran_in == pool.region, known=known)
        if mode == RUNNING and not start <= runs_at < to:
            mode = BESIDE if task.suspendable else CLOSED
        factor = task.kw_factor.get(pool.gpu_type or "", 1.0)
        move_g, move_slots = task.relocation_g.get(pool.region, 0.0), task.relocation_slots.get(pool.region, 0)
        found.append(_Pair(index, start, to, factor, move_g, move_slots, mode))
    return found


def _mode(task: Task, *, here: bool, known: bool) -> int:
    """Of a task that ran before: `here` where it did, `known` if that is a pool it may still use."""
    if here:
        return RUNNING if task.running else PARKED
    if not task.suspendable:
        return CLOSED if task.running else ARRIVES  # what was lost starts again anywhere; what runs only goes on
    return CLOSED if known else ARRIVES  # where it lies parked there is a way to stay, so only a move leads away


class _Quanta(NamedTuple):
    work: int
    quanta: list[int]
    exact: bool


def _quanta(task: Task, *, states: int, round_up: bool) -> _Quanta:
    """Work and each size's progress per slot, in quanta; `states`: slots x pools x sizes that go with each of them."""
    speeds = [size.speed for size in _sorted(task)]
    if not task.elastic:
        return _Quanta(int(task.work), [1], True)
    most = min(max(_MOST_STATES // max(states, 1), _FEWEST_QUANTA), _MOST_QUANTA)
    parts = [Fraction(speed).limit_denominator(1000) for speed in speeds]
    scale = math.lcm(*(part.denominator for part in parts))
    units = [int(part * scale) for part in parts]
    common = math.gcd(*units) or 1
    work = math.ceil(task.work * scale / common - 1e-9)
    if work <= most and all(abs(float(p) - s) < 1e-12 for p, s in zip(parts, speeds, strict=True)):
        return _Quanta(work, [unit // common for unit in units], True)
    finest = max(1.0, most / max(task.work, 1e-9))
    tried = np.linspace(finest / 2, finest, 2000)
    least = np.round(tried[:, None] * np.array(speeds)[None, :], 9)
    bent = np.ceil(least) - least if round_up else least - np.floor(least)
    per_unit = float(tried[int((bent / least).max(axis=1).argmin())])
    if round_up:
        up = [math.ceil(s * per_unit - 1e-9) for s in speeds]
        return _Quanta(max(1, math.floor(task.work * per_unit + 1e-9)), up, False)
    down = [math.floor(s * per_unit + 1e-9) for s in speeds]
    return _Quanta(math.ceil(task.work * per_unit - 1e-9), down, False)


def _drops(made: Arrays, tasks: tuple[Task, ...]) -> Floats:
    """More than any way of doing a job costs."""
    drop = np.zeros(len(tasks))
    if not made.grams.size:
        return drop
    dirtiest, dearest = float(np.maximum(made.grams, 0).max()), float(np.maximum(made.extra, 0).max())
    for index, task in enumerate(tasks):
        kwh = float(made.size_kwh[made.size_at[index] : made.size_at[index + 1]].max())
        kwh *= max(task.kw_factor.values(), default=1.0)
        slots = max(1, int(made.last[index] - made.first[index]))
        moves = slots * max(task.relocation_g.values(), default=0.0)
        worst_kwh_g = dirtiest + task.price_factor * dearest
        kwh += abs(task.restart_kwh) + task.caution_kwh
        worst = slots * kwh * worst_kwh_g + moves + task.wait_g_per_slot * slots
        drop[index] = max(worst, 1.0)
    return drop


def left_out_g(p: Arrays, tasks: tuple[Task, ...]) -> Floats:
    """(J,) what leaving a job out counts as in the search: priority first, then the number of jobs, then their cost.

    A job of a higher step of priority outweighs all of the lower ones, what runs all that has not begun.
    """
    if not tasks:
        return np.zeros(0)
    unit = 2.0 * float(p.drop_g.max())
    step = float(min(len(tasks) + 1, _STEP))
    lowest = min(task.priority for task in tasks)
    ranks = np.array([task.priority - lowest + (_RUNNING_RANKS if task.running else 0) for task in tasks])
    return unit * step**ranks + p.drop_g


_STEP = 64.0  # more than so many jobs for one of higher priority are not weighed exactly
_RUNNING_RANKS = 2
