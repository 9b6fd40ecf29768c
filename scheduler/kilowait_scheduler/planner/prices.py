"""What a GPU is worth, by pool and slot, and a gram, by budget: prices at which jobs that choose alone fit together.

At given prices every job is planned by itself, exactly. What they then pay, less the prices times what there is, is a
lower bound on the objective of every plan (Lagrangian duality), whatever the prices. Moving prices along the overuse
raises it (a deflected subgradient method with an adaptive level); the best value found is the plan's certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from . import sweeps
from .arrays import Arrays
from .problem import Floats, Ints

_LEVEL = 0.015  # how far above the best value the first steps aim, as a share of it
_WARM_LEVEL = 0.002
_SHRINK, _PATIENCE, _WORTH = 0.6, 6, 0.05  # of the level: after so many rounds that gained less than this share of it
_FINE = 2e-5  # of the value: steps that aim at less than this are not worth a round
_GROW = 1.05  # of the level after a round that gained as much: one that only shrinks stalls short of the best
_MEMORY = 0.65  # share of the last direction in the next
_CHUNKS, _CHUNK = 8, 250  # at most, jobs at least: so that sums come out the same however many threads there are


class Round(Protocol):
    """One look at all jobs at given prices; `wanted` as in `sweeps.price_round`. Keeps what it learns about floors."""

    def __call__(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        """(what the jobs pay, GPUs they use (P, T), carbon by budget (budgets,)) at their best at `price`."""


def edges(jobs: int) -> list[int]:
    """Where the jobs are cut into chunks that are priced apart and added up in order."""
    cuts: list[int] = np.linspace(0, jobs, min(_CHUNKS, max(1, jobs // _CHUNK)) + 1).astype(int).tolist()
    return cuts


class LocalRound:
    """Rounds in this process, over a few threads: the kernels let go of the interpreter's lock."""

    def __init__(self, p: Arrays, floor: Floats, *, budgets: int, threads: int = 2, chunks: int | None = None) -> None:
        self._p, self._budgets = p, budgets
        jobs = len(p.first)
        cuts = edges(jobs) if chunks is None else np.linspace(0, jobs, chunks + 1).astype(int).tolist()
        self._chunks = list(pairwise(cuts))
        self._threads = threads if len(self._chunks) > 1 else 1
        self._known = memory_of(p, floor)
        self._last: Floats | None = None

    def __call__(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        p, moved = self._p, moved_from(self._last, price)
        self._last = price

        def one(chunk: tuple[int, int]) -> tuple[float, Ints, Floats]:
            use, spent = np.zeros(p.cap.shape, dtype=np.int64), np.zeros(self._budgets)
            return sweeps.price_round(p, price, scale, wanted, *chunk, self._known, moved, use, spent), use, spent

        if self._threads == 1:
            parts = [one(chunk) for chunk in self._chunks]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                parts = list(pool.map(one, self._chunks))
        use, spent = np.zeros(p.cap.shape, dtype=np.int64), np.zeros(self._budgets)
        for part in parts:
            use += part[1]
            spent += part[2]
        return sum((part[0] for part in parts), 0.0), use, spent


def memory_of(p: Arrays, floor: Floats) -> sweeps.Memory:
    """Nothing solved yet; `floor` (Q,) what each pair costs at no price."""
    jobs, shape = len(p.first), (len(p.first), p.grams.shape[1])
    owner = np.repeat(np.arange(jobs), np.diff(p.pair_at))
    widest = np.array([p.size_gpus[a:b].max() for a, b in zip(p.size_at[:-1], p.size_at[1:], strict=True)] or [0])
    slots = np.where((p.gap == 0) & (np.diff(p.size_at) == 1), p.work, p.last - p.first)
    return sweeps.Memory(
        floor=floor.copy(),
        exact=np.zeros(len(floor), dtype=np.bool_),
        weight=(widest * slots)[owner].astype(np.float64) if jobs else np.zeros(0),
        scale=np.ones(jobs),
        best=np.full(jobs, -1, dtype=np.int64),
        where=np.full(shape, -1, dtype=np.int16),
        size=np.zeros(shape, dtype=np.int8),
    )


def moved_from(last: Floats | None, price: Floats) -> sweeps.Moved:
    """What changed between two rounds' prices (P, T); nothing before the first, whose floors hold at any price."""
    pools, slots = price.shape
    nothing = np.zeros(pools, dtype=np.int64)
    if last is None or slots == 0:
        return sweeps.Moved(np.zeros(pools), nothing, nothing)
    differs = last != price
    some = differs.any(axis=1)
    low = np.where(some, differs.argmax(axis=1), slots)
    high = np.where(some, slots - differs[:, ::-1].argmax(axis=1), 0)
    return sweeps.Moved(np.maximum(last - price, 0).max(axis=1, initial=0.0), low, high)


Duals = tuple[Floats, ...]


class Dual(Protocol):
    """A lower bound as a concave function of multipliers, all of them at least 0."""

    def __call__(self, at: Duals) -> tuple[float, Duals]:
        """The bound at `at`, and the way it rises: by how much each row there is broken."""


def climb(
    dual: Dual,
    *,
    start: Duals,
    aim: float,
    iterations: int,
    enough: Callable[[float], bool],
    least: float = np.inf,
) -> tuple[Duals, float]:
    """The best multipliers found from `start` in `iterations` rounds, or until `enough(bound)`, and their bound.

    `aim`: how far above the first value the first steps aim, as a share of it; never above `least`, which is known to
    be reached.
    """
    at, way = start, tuple(np.zeros_like(block) for block in start)
    best, best_at, best_slope, level, stalled = -np.inf, start, start, 0.0, 0
    for step in range(max(1, iterations)):
        value, slope = dual(at)
        if step == 0:
            level = min(max(abs(value), 1e-9) * aim, max(least - value, 1e-9))
        gained = value > best + _WORTH * level
        stalled = 0 if gained else stalled + 1
        level *= _GROW if gained and step else 1.0
        if value > best:
            best, best_at, best_slope = value, at, slope
        if enough(best):
            break
        if stalled >= _PATIENCE:
            level, stalled = level * _SHRINK, 0
            if level < _FINE * abs(best):
                break
            at = best_at
        way = tuple(_MEMORY * old + (1 - _MEMORY) * new for old, new in zip(way, slope, strict=True))
        go = _inside(at, way)
        norm = _square(go)
        if norm <= 0:  # the way that was remembered leads nowhere from here
            value, way = best, best_slope
            at, go = best_at, _inside(best_at, best_slope)
            norm = _square(go)
            if norm <= 0:
                break
        length = min(max(best + level - value, 0.0), level) / norm
        at = tuple(np.maximum(0.0, block + length * to) for block, to in zip(at, go, strict=True))
    return best_at, best


def _inside(at: Duals, way: Duals) -> Duals:
    """`way` without what would make multipliers negative."""
    return tuple(np.where((block <= 0) & (to < 0), 0.0, to) for block, to in zip(at, way, strict=True))


def _square(go: Duals) -> float:
    return sum(float((to * to).sum()) for to in go)


@dataclass(frozen=True)
class Ascent:
    """The best prices found: `gpu_g` (P, T), `budget` (budgets,), and the bound they prove."""

    gpu_g: Floats
    budget: Floats
    bound: float


def ascend(
    look: Round,
    p: Arrays,
    *,
    limits_g: Floats,
    start: tuple[Floats, Floats] | None,
    wanted: Ints,
    iterations: int,
    enough: Callable[[float], bool],
    least: float = np.inf,
) -> Ascent:
    """Raise the bound from `start` (no prices where None) for `iterations` rounds, or until `enough(bound)`."""
    # Budget rows count grams, GPU rows count GPUs: their multipliers are scaled so that steps are of a like size.
    unit = 0.1 * float(np.sqrt((p.cap.astype(float) ** 2).sum())) / np.maximum(limits_g, 1e-9)

    def dual(at: Duals) -> tuple[float, Duals]:
        price, mu = at[0], at[1] * unit
        paid, use, spent = look(price, scale_of(p, mu), wanted)
        value = paid - float((price * p.cap).sum()) - float((mu * limits_g).sum())
        return value, ((use - p.cap).astype(np.float64), (spent - limits_g) * unit)

    price, mu = start if start is not None else (np.zeros(p.cap.shape), np.zeros(len(limits_g)))
    aim = _LEVEL if start is None else _WARM_LEVEL
    at, bound = climb(dual, start=(price, mu / unit), aim=aim, iterations=iterations, enough=enough, least=least)
    return Ascent(at[0], at[1] * unit, bound)


def scale_of(p: Arrays, mu: Floats) -> Floats:
    """(J,) what multiplies each job's carbon at budget prices `mu`."""
    if not len(mu):
        return np.ones(len(p.first))
    return 1.0 + np.where(p.budget >= 0, mu[np.maximum(p.budget, 0)], 0.0)
