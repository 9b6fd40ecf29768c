"""Every task's best schedule as if it were alone: exact, and without a plan for all."""

from __future__ import annotations

import numpy as np

from . import kernels
from .arrays import Arrays, arrays_of
from .jit import COMPILED
from .problem import Ints, Problem, Segment
from .rows import segments_of
from .schedule import Rows, best_rows

_SMALL = 16  # tasks that are sooner done in numpy than the kernels are read from disk; elastic ones never are


class Alone:
    """Answers what one job after another would best do if it were alone."""

    def __init__(self, p: Arrays) -> None:
        self._p = p
        self._row: kernels.Row | None = None
        if COMPILED and (len(p.first) > _SMALL or bool((np.diff(p.size_at) > 1).any())):
            self._row = kernels.blank(p.grams.shape[1])
            self._nothing = np.full(len(p.pair_pool), -np.inf)
            self._scratch = self._nothing.copy()

    def best(self, j: int, free: Ints) -> Rows:
        """(objective, where, size) of job j under `free` GPUs; objective inf where nothing fits."""
        p, row = self._p, self._row
        if row is None:
            return best_rows(p, j, free)
        value = kernels.cheapest(p, j, p.grams, 0.0, free, 1.0, self._nothing, self._scratch, np.inf, row)
        return value, row.where.copy(), row.size.copy()


def best_alone(problem: Problem) -> list[list[Segment]]:
    """The cheapest way of doing each task with all GPUs that there are, in their order; nothing where there is none."""
    p = arrays_of(problem)
    alone = Alone(p)
    found: list[list[Segment]] = []
    for j in range(len(problem.tasks)):
        value, where, size = alone.best(j, p.cap)
        found.append(segments_of(problem, p, j, where, size) if np.isfinite(value) else [])
    return found
