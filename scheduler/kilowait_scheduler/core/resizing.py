"""The work of an elastic job as it would have been on one number of GPUs.

A GPU is taken to draw what it drew, and the work to go as fast as the job's throughput curve says: on `gpus` at `speed`
the same work takes gpus/speed in place of the run's gpus/speed times its energy, and speed/speed times its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .course import Course, Ints, joined, to_us
from .stack import Stack
from .state import JobState

_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Stint:
    """From `since_us` on the job's run worked on `gpus` GPUs, `speed` seconds of its work per second."""

    since_us: int
    gpus: int
    speed: float


@dataclass(frozen=True)
class Size:
    """A number of GPUs and the work done on it per time."""

    gpus: int
    speed: float


def stints_of(state: JobState) -> tuple[Stint, ...]:
    """The runs, in order; those of before jobs had sizes are left out.

    One whose start was not seen counts from when it was made: it drew nothing before, and no other did since.
    """
    return tuple(
        Stint(to_us(run.started_at or run.created_at), run.gpus, state.speed_on(run.gpus))
        for run in state.runs
        if run.gpus is not None
    )


def on_size(useful: Course, stints: Sequence[Stint], size: Size) -> Course:
    """The same work at the moments at which it was really done, with the energy that it takes on `size`."""
    pieces, number = _by_stint(useful, stints)
    factor = np.array([(size.gpus / size.speed) / (stint.gpus / stint.speed) for stint in stints])
    return replace(pieces, energy_mj=np.rint(pieces.energy_mj * factor[number]).astype(np.int64))


def as_long_as_on(useful: Course, stints: Sequence[Stint], size: Size) -> Course:
    """`on_size` without pauses, each stint's work as long as it takes on `size`; from the first row's start on."""
    pieces, number = _by_stint(on_size(useful, stints, size), stints)
    parts: list[Course] = []
    at = int(pieces.start_us.min()) if len(pieces) else 0
    for index, stint in enumerate(stints):
        part = Stack.of([pieces.rows(number == index)]).compacted()[0].rows
        if not len(part):
            continue
        rate, origin = stint.speed / size.speed, int(part.start_us[0])
        start = at + np.rint((part.start_us - origin) * rate).astype(np.int64)
        end = np.maximum(at + np.rint((part.end_us - origin) * rate).astype(np.int64), start + 1)
        parts.append(replace(part, start_us=start, end_us=end))
        at = int(end.max())
    return joined(parts) if parts else pieces


def gpu_hours(useful: Course, stints: Sequence[Stint]) -> float:
    """Hours in which the work was done, times the GPUs that each stint had."""
    pieces, number = _by_stint(useful, stints)
    _, lengths = Stack.of([pieces.rows(number == index) for index in range(len(stints))]).compacted()
    hours = np.array([stint.gpus for stint in stints]) * lengths / _HOUR_US
    return float(hours.sum())


def _by_stint(course: Course, stints: Sequence[Stint]) -> tuple[Course, Ints]:
    """Rows that lie in one stint each, and its number; what comes before the first belongs to it."""
    since = np.array([stint.since_us for stint in stints], dtype=np.int64)
    pieces = Stack.of([course]).split(since[1:], np.zeros(max(len(since) - 1, 0), dtype=np.int64)).rows
    number = np.maximum(np.searchsorted(since, pieces.start_us, side="right") - 1, 0)
    return pieces, number.astype(np.int64)
