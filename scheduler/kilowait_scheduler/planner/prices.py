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
_GROW = 1.05  # of the level after a round that gained as much: one that only shrinks stalls short of the best
_MEMORY = 0.65  # share of the last direction in the next
_CHUNKS = 8  # fixed, so that sums come out the same however many threads there are


class Round(Protocol):
    """One look at all jobs at given prices; `wanted` as in `sweeps.price_round`. Keeps what it learns about floors."""

    def __call__(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        """(what the jobs pay, GPUs they use (P, T), carbon by budget (budgets,)) at their best at `price`."""


def edges(jobs: int) -> list[int]:
    """Where the jobs are cut into chunks that are priced apart and added up in order."""
    cuts: list[int] = np.linspace(0, jobs, min(_CHUNKS, max(1, jobs // 50)) + 1).astype(int).tolist()
    return cuts


class LocalRound:
    """Rounds in this process, over a few threads: the kernels let go of the interpreter's lock."""

    def __init__(self, p: Arrays, floor: Floats, *, budgets: int, threads: int = 2, chunks: int | None = None) -> None:
        self._p, self._floor, self._budgets = p, floor.copy(), budgets
        jobs = len(p.first)
        cuts = edges(jobs) if chunks is None else np.linspace(0, jobs, chunks + 1).astype(int).tolist()
        self._chunks = list(pairwise(cuts))
        self._threads = threads if len(self._chunks) > 1 else 1
        owner = np.repeat(np.arange(jobs), np.diff(p.pair_at))
        widest = np.array([p.size_gpus[a:b].max() for a, b in zip(p.size_at[:-1], p.size_at[1:], strict=True)] or [0])
        slots = np.where((p.gap == 0) & (np.diff(p.size_at) == 1), p.work, p.last - p.first)
        self._weight = (widest * slots)[owner] if jobs else np.zeros(0)
        self._unsure = p.budget[owner] >= 0 if jobs else np.zeros(0, dtype=bool)
        self._last: Floats | None = None

    def __call__(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        p = self._p
        if self._last is not None and len(self._floor):
            fallen = np.maximum(self._last - price, 0).max(axis=1, initial=0.0)
            self._floor -= self._weight * fallen[p.pair_pool] * (1 + 1e-12)
            self._floor[self._unsure] = -np.inf
        self._last = price

        def one(chunk: tuple[int, int]) -> tuple[float, Ints, Floats]:
            use, spent = np.zeros(p.cap.shape, dtype=np.int64), np.zeros(self._budgets)
            return sweeps.price_round(p, price, scale, wanted, *chunk, self._floor, use, spent), use, spent

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
) -> Ascent:
    """Raise the bound from `start` (no prices where None) for `iterations` rounds, or until `enough(bound)`."""
    price, mu = start if start is not None else (np.zeros(p.cap.shape), np.zeros(len(limits_g)))
    # Budget rows count grams, GPU rows count GPUs: their steps are scaled to a like size.
    unit = 0.1 * float(np.sqrt((p.cap.astype(float) ** 2).sum())) / np.maximum(limits_g, 1e-9)
    best, best_price, best_mu = -np.inf, price, mu
    level, stalled = 0.0, 0
    way, way_mu = np.zeros(p.cap.shape), np.zeros(len(limits_g))
    for step in range(max(1, iterations)):
        paid, use, spent = look(price, scale_of(p, mu), wanted)
        value = paid - float((price * p.cap).sum()) - float((mu * limits_g).sum())
        if step == 0:
            level = max(abs(value), 1e-9) * (_LEVEL if start is None else _WARM_LEVEL)
        gained = value > best + _WORTH * level
        stalled = 0 if gained else stalled + 1
        level *= _GROW if gained and step else 1.0
        if value > best:
            best, best_price, best_mu = value, price, mu
        if enough(best):
            break
        if stalled >= _PATIENCE:
            level, stalled = level * _SHRINK, 0
            price, mu = best_price, best_mu
        way = _MEMORY * way + (1 - _MEMORY) * (use - p.cap)
        way_mu = _MEMORY * way_mu + (1 - _MEMORY) * (spent - limits_g) * unit
        go = np.where((price <= 0) & (way < 0), 0.0, way)
        go_mu = np.where((mu <= 0) & (way_mu < 0), 0.0, way_mu)
        norm = float((go * go).sum() + (go_mu * go_mu).sum())
        if norm <= 0:
            break
        length = min(max(best + level - value, 0.0), level) / norm
        price, mu = np.maximum(0.0, price + length * go), np.maximum(0.0, mu + length * go_mu * unit)
    return Ascent(best_price, best_mu, best)


def scale_of(p: Arrays, mu: Floats) -> Floats:
    """(J,) what multiplies each job's carbon at budget prices `mu`."""
    if not len(mu):
        return np.ones(len(p.first))
    return 1.0 + np.where(p.budget >= 0, mu[np.maximum(p.budget, 0)], 0.0)
