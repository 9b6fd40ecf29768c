"""What of a job's energy went into its work, and what only being carbon-aware, or a failure, cost on top."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from .course import Ints, to_us
from .stack import Stack
from .state import JobState, Run, RunPhase

Span = tuple[datetime, datetime]


def spans_lost(runs: Sequence[Run], *, restart_s: float) -> tuple[list[Span], list[Span], list[Span]]:
    """When runs did no work that counts: while they restarted, while they stopped, and what was done again later.

    Restarts are the first `restart_s` seconds of every run after the first that began, stops the time between a stop
    signal and the end of a run that did not succeed all the same; what no checkpoint held, a later run does again.
    """
    begun = [run for run in runs if run.started_at is not None]
    first, last = min((run.n for run in begun), default=0), max((run.n for run in runs), default=0)
    restarts: list[Span] = []
    stops: list[Span] = []
    again: list[Span] = []
    for run in begun:
        assert run.started_at is not None
        if run.n > first:
            restarts.append((run.started_at, run.started_at + timedelta(seconds=restart_s)))
        if run.ended_at is None:
            continue
        in_vain = run.phase is not RunPhase.SUCCEEDED  # the work after a stop signal, if it did not end the job
        if in_vain and run.stop_wanted_at is not None:
            stops.append((run.stop_wanted_at, run.ended_at))
        if run.n < last and run.kept_until is not None:
            again.append((run.kept_until, run.ended_at))
    return restarts, stops, again


def work_s(state: JobState) -> float:
    """Seconds of work that a job's runs did, of those that have ended; on several GPUs as fast as its curve says."""
    lost = sorted(span for some in spans_lost(state.runs, restart_s=state.restart_s) for span in some)
    found = 0.0
    for run in state.runs:
        if run.started_at is None or run.ended_at is None:
            continue
        reached, worked = run.started_at, timedelta(0)
        for start, end in lost:
            if start < run.ended_at and end > reached:
                worked += max(start - reached, timedelta(0))
                reached = min(end, run.ended_at)
        worked += run.ended_at - reached
        found += worked.total_seconds() * state.speed_on(run.gpus)
    return found


def edges_of(states: Sequence[JobState]) -> tuple[Ints, Ints]:
    """The times, (n,) in microseconds, at which what several jobs drew is told apart, and which of them each is of:
    where a later run began, and where spans that were lost begin and end."""
    found = [
        (number, to_us(moment))
        for number, state in enumerate(states)
        for moment in (
            *(run.started_at or run.created_at for run in sorted(state.runs, key=lambda run: run.n)[1:]),
            *(edge for spans in spans_lost(state.runs, restart_s=state.restart_s) for span in spans for edge in span),
        )
    ]
    of, edges_us = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return edges_us, of


def within(courses: Stack, spans: Sequence[Sequence[Span]]) -> tuple[Stack, Stack]:
    """What of each course lies outside its own `spans` and what lies inside; the two add up to it exactly."""
    found = [
        (number, to_us(start), to_us(end)) for number, some in enumerate(spans) for start, end in some if end > start
    ]
    of, start_us, end_us = (
        np.array(column, dtype=np.int64) for column in (zip(*found, strict=True) if found else ((),) * 3)
    )
    pieces = courses.split(np.concatenate((start_us, end_us)), np.concatenate((of, of)))
    add = pieces.axis(np.concatenate((start_us, end_us)), np.concatenate((of, of)))
    at = pieces.rows.start_us + add[pieces.number]
    begun = np.searchsorted(np.sort(start_us + add[of]), at, side="right")
    over = np.searchsorted(np.sort(end_us + add[of]), at, side="right")
    return pieces.those(begun == over), pieces.those(begun > over)


def useful_and_overhead(courses: Stack, lost: Sequence[tuple[Sequence[Run], float]]) -> tuple[Stack, Stack]:
    """Energy that went into the work, and energy that only being carbon-aware (or a failure) cost; the two add up to
    the courses exactly. `lost`: each one's runs, and how many seconds a restart takes."""
    return within(courses, [[span for some in spans_lost(runs, restart_s=s) for span in some] for runs, s in lost])
