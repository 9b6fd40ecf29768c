"""What would have happened, by name: a counterfactual is a rule that anyone can apply again.

`run-now@1`: first come first served at home, uninterrupted, under home's capacity. `static-clean@1`: the same in the
allowed region that was cleanest in the long run. `mean-start@1`: begun at a moment drawn evenly from all that meet the
deadline, at home, uninterrupted: its carbon is the mean over all of them. `policy:NAME@1`: see `policies`.

A counterfactual moves a job's useful energy, along its measured power profile over progress, to other times. It never
changes how much energy the work itself takes; restarts and waiting for checkpoints are not part of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from .carbon import MJ_PER_KWH, Emission
from .course import Course, to_us
from .integral import Integral, emission_of
from .stack import Stack, offsets


class Baseline(StrEnum):
    """The counterfactuals there are; the number rises when a rule changes."""

    RUN_NOW = "run-now@1"
    MEAN_START = "mean-start@1"
    STATIC_CLEAN = "static-clean@1"
    THRESHOLD = "policy:threshold@1"
    LOWEST_WINDOW = "policy:lowest-window@1"
    WAIT_AWHILE = "policy:wait-awhile@1"


Span = tuple[datetime, datetime]
# Region, start and end of a stretch of work.
Stay = tuple[str, datetime, datetime]


@dataclass(frozen=True)
class Counterfactual:
    """What a baseline would have done with a job: its useful work in `windows` of `region`, as long as that takes.

    With `slack` all of it begins later, by a span drawn evenly from [0, slack]. `settled` once no other job can still
    change it. `grounds`: what the choice rests on, where the baseline had to know something.
    """

    region: str
    windows: tuple[Span, ...]
    settled: bool = True
    slack: timedelta = timedelta(0)
    grounds: str = ""

    @property
    def start(self) -> datetime:
        """When it would begin, at the earliest."""
        return self.windows[0][0]

    @property
    def end(self) -> datetime:
        """When it would be done, at the latest."""
        return self.windows[-1][1] + self.slack


_US = timedelta(microseconds=1)

# Sorts a queue, always to the same order: by when a job may start, then by when it was submitted, then by its id.
Place = tuple[datetime, datetime, str]


@dataclass(frozen=True)
class Arrival:
    """A job as the baseline's queue sees it; before `earliest`, where it has one, it would not have been started."""

    job_id: str
    submitted_at: datetime
    gpus: int
    duration: timedelta
    home: str
    earliest: datetime | None = None

    @property
    def place(self) -> Place:
        """Where it stands in the queue."""
        return place(job_id=self.job_id, submitted_at=self.submitted_at, earliest=self.earliest)


def place(*, job_id: str, submitted_at: datetime, earliest: datetime | None) -> Place:
    """Where a job stands in the baseline's queue: (may start, submitted, id)."""
    return max(submitted_at, earliest or submitted_at), submitted_at, job_id


def run_now_starts(arrivals: Iterable[Arrival], *, capacity: dict[str, int]) -> dict[str, datetime]:
    """Start of every job under run-now: strict first come first served per home region, in order of `Arrival.place`.

    Nobody overtakes, so a start depends only on the arrivals before it: what is behind a job may be left out.

    `capacity` holds GPUs per region. A job larger than its home's capacity starts as soon as it may: the baseline
    must not profit from a region that could never have run it. So does a job of no work, and holds nobody up.
    """
    starts: dict[str, datetime] = {}
    queues: dict[str, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=lambda arrival: arrival.place):
        queues.setdefault(arrival.home, []).append(arrival)
    for home, queue in queues.items():
        total = capacity.get(home, 0)
        free = total
        running: list[tuple[datetime, str, int]] = []
        now = None
        for arrival in queue:
            ready, _, _ = arrival.place
            if arrival.gpus > total or not arrival.duration:
                starts[arrival.job_id] = ready
                continue
            now = ready if now is None else max(now, ready)
            while running and (running[0][0] <= now or free < arrival.gpus):
                ended, _, gpus = heapq.heappop(running)
                free += gpus
                now = max(now, ended)
            starts[arrival.job_id] = now
            free -= arrival.gpus
            heapq.heappush(running, (now + arrival.duration, arrival.job_id, arrival.gpus))
    return starts


def mean_start_emissions(course: Course, *, slack: timedelta, intensity: Integral, pue: float) -> Emission:
    """Mean carbon of a course in one region, all begun later by a span drawn evenly from [0, slack], exactly.

    Raises the series' OutOfRange or Gap.
    """
    if not slack:
        return emission_of(
            course, intensity=dict.fromkeys(course.regions, intensity), pue=dict.fromkeys(course.regions, pue)
        )
    grams_us, guessed_us = intensity.delayed(course.start_us, course.end_us, slack_us=slack // _US)
    for row in np.flatnonzero(np.isnan(grams_us))[:1].tolist():
        raise intensity.missing(int(course.start_us[row]), int(course.end_us[row]) + slack // _US)
    kwh = course.energy_mj / MJ_PER_KWH * pue
    per_us = kwh / (course.end_us - course.start_us)
    grams = per_us * grams_us
    return Emission(
        float(grams.sum()),
        float(kwh.sum()),
        float(np.where(course.estimated, grams, per_us * guessed_us).sum()),
        float((np.abs(grams) * course.uncertainty_pct).sum()) / 100,
    )


def laid(courses: Stack, places: Sequence[Sequence[Stay]]) -> Stack:
    """The useful work of each course done in its own `places`, one at least: without a pause but those between them.

    What they do not hold goes on after the last one.
    """
    packed, _ = courses.compacted()
    stays = [stay for some in places for stay in some]
    at = offsets([len(some) for some in places])
    of = np.repeat(np.arange(len(places), dtype=np.int64), np.diff(at))
    start_us = np.array([to_us(start) for _, start, _ in stays], dtype=np.int64)
    before = offsets([(end - start) // _US for _, start, end in stays])[:-1]
    begun = np.zeros(len(places), dtype=np.int64)
    begun[packed.full] = packed.rows.start_us[packed.firsts]
    edge_us = begun[of] + before - before[at[of]]  # where in the packed work each place takes over
    later = at[of] != np.arange(len(of))
    pieces = packed.split(edge_us[later], of[later])
    if not len(pieces.rows):
        return pieces
    add = pieces.axis(edge_us, of)
    stay = np.searchsorted(edge_us + add[of], pieces.rows.start_us + add[pieces.number], side="right") - 1
    names = {name: index for index, name in enumerate(dict.fromkeys(region for region, _, _ in stays))}
    place = np.array([names[region] for region, _, _ in stays], dtype=np.int64)
    moved = pieces.rows.shifted((start_us - edge_us)[stay]).placed(place[stay], tuple(names))
    return Stack(moved, pieces.at).sorted()
