"""What was measured of jobs as reports take it: five minutes of readings as one row, of ended jobs kept ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from kilowait_scheduler.core.coarse import coarsened
from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.overhead import edges_of
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.stack import Stack
from kilowait_scheduler.store.repository import Store

# Most of the readings have come in by then; those of an agent that was cut off for longer make the job's course anew.
_KEPT_AFTER = timedelta(hours=1)
_ASKED_FOR_AT_ONCE = 100  # jobs


def courses_of(store: Store, records: Sequence[JobRecord], *, now: datetime) -> list[Course]:
    """What each of the jobs drew up to `now`, in their order; the same whether or not it was kept."""
    kept = store.kept_courses(record.id for record in records)
    others = [record for record in records if record.id not in kept]
    read = _coarse(others, store.energy_of(record.id for record in others), now=now)
    return [(kept if record.id in kept else read)[record.id] for record in records]


async def keep_courses(store: Store, *, now: datetime) -> None:
    """Keep the courses of jobs that have ended and were read from their readings so far."""
    after = ""
    while records := await asyncio.to_thread(
        store.without_course, finished_before=now - _KEPT_AFTER, after=after, limit=_ASKED_FOR_AT_ONCE
    ):
        for record in records:
            await asyncio.to_thread(_keep, store, record, now=now)
        after = records[-1].id


def _keep(store: Store, record: JobRecord, *, now: datetime) -> None:
    def make(course: Course) -> Course | None:
        if len(course) and int(course.end_us.max()) > to_us(now):  # an agent's clock is ahead of ours
            return None
        return _coarse([record], {record.id: course}, now=now)[record.id]

    store.keep_course(record.id, make)


def _coarse(records: Sequence[JobRecord], energy: Mapping[str, Course], *, now: datetime) -> dict[str, Course]:
    until_us, nothing = to_us(now), Course.of(())
    courses = (energy.get(record.id, nothing) for record in records)
    past = [course.rows(course.end_us <= until_us) if len(course) else course for course in courses]
    made = coarsened(Stack.of(past), *edges_of([record.state for record in records])).courses()
    return {record.id: course for record, course in zip(records, made, strict=True)}
