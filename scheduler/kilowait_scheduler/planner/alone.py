"""Every task's best schedule as if it were alone: exact, and without a plan for all."""

from __future__ import annotations

import numpy as np

from . import kernels
from .arrays import arrays_of
from .jit import COMPILED
from .problem import Placement, Problem
from .rows import placement_of
from .schedule import best_rows

_SMALL = 16  # tasks that are sooner done in numpy than the kernels are read from disk


def best_alone(problem: Problem) -> list[Placement | None]:
    """The cheapest way of doing each task with all GPUs that there are, in their order; None where there is none."""
    p = arrays_of(problem)
    found: list[Placement | None] = []
    nothing, row = np.full(len(p.pair_pool), -np.inf), kernels.blank(problem.slots) if _many(problem) else None
    scratch = nothing.copy()
    for j in range(len(problem.tasks)):
        if row is None:
            value, where, size = best_rows(p, j, p.cap)
        else:
            value = kernels.cheapest(p, j, p.grams, 0.0, p.cap, 1.0, nothing, scratch, np.inf, row)
            where, size = row.where, row.size
        found.append(placement_of(problem, p, j, where, size) if np.isfinite(value) else None)
    return found


def _many(problem: Problem) -> bool:
    return COMPILED and len(problem.tasks) > _SMALL
