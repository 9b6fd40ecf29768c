"""Schedules as rows over the slots, as the kernels write them, and as segments, as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays
from .problem import Placement, Problem, Segment, Task
from .schedule import weighed

Row = NDArray[Any]


def rows_of(
    segments: Sequence[Segment], task: Task, pools: Mapping[tuple[str, str | None], int], slots: int
) -> tuple[Row, Row] | None:
    """(where, size) of `segments`; None where a pool or a size of theirs does not exist any more."""
    where, size = np.full(slots, -1, dtype=np.int16), np.zeros(slots, dtype=np.int8)
    index_of = {s.gpus: index for index, s in enumerate(sorted(task.sizes, key=lambda s: s.gpus))}
    for segment in segments:
        pool = pools.get((segment.region, segment.gpu_type))
        if pool is None or segment.gpus not in index_of or not 0 <= segment.start < segment.end <= slots:
            return None
        where[segment.start : segment.end] = pool
        size[segment.start : segment.end] = index_of[segment.gpus]
    return where, size


def segments_of(problem: Problem, p: Arrays, j: int, where: Row, size: Row) -> list[Segment]:
    """Rows as segments, in order."""
    first, last = int(p.first[j]), int(p.last[j])
    places, sizes = where[first:last], size[first:last]
    changes = (places[1:] != places[:-1]) | (sizes[1:] != sizes[:-1])
    edges = [first, *(np.flatnonzero(changes) + first + 1).tolist(), last]
    segments: list[Segment] = []
    for begin, end in pairwise(edges):
        if begin < end and where[begin] >= 0:
            pool = problem.pools[where[begin]]
            gpus = int(p.size_gpus[p.size_at[j] + size[begin]])
            segments.append(Segment(pool.region, begin, end, gpus, pool.gpu_type))
    return segments


def placement_of(
    problem: Problem, p: Arrays, j: int, where: Row, size: Row, cost: tuple[float, float] | None = None
) -> Placement:
    """Rows as segments with their `cost`, carbon and other, where that is known already."""
    task, segments = problem.tasks[j], segments_of(problem, p, j, where, size)
    starts = sum(
        1
        for index, segment in enumerate(segments)
        if index == 0
        or segment.start != segments[index - 1].end
        or (segment.region, segment.gpu_type) != (segments[index - 1].region, segments[index - 1].gpu_type)
        or (task.resize_restarts and segment.gpus != segments[index - 1].gpus)
    )
    first = segments[0]
    home = task.home_of(problem.pools) if task.running else None
    goes_on = home is not None and (first.region, first.gpu_type) == (home.region, home.gpu_type)
    goes_on = goes_on and first.start == p.first[j] and (not task.resize_restarts or first.gpus == task.ran_gpus)
    restarts = starts - (1 if task.ran_in is None or goes_on else 0)
    carbon, price = cost or weighed(p, j, where, size)
    return Placement(task, tuple(segments), carbon, price, restarts)
