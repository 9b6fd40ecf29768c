"""What ended jobs drew, ready to be read: years of readings are too many to be read for every report."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import numpy as np
from sqlalchemy import Text, cast, delete
from sqlmodel import Session, col, select

from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.record import JobRecord

from .bulk import batches, insert_new
from .energy import courses_in, rows_in
from .tables import JobCourseRow, JobRow

_COLUMNS = ("start_us", "end_us", "energy_mj", "place", "uncertainty_pct", "estimated")
_TYPES = ("<i8", "<i8", "<i8", "<i8", "<f8", "?")


class Courses(ABC):
    """The part of the repository that keeps the courses of jobs' energy."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    def kept_courses(self, job_ids: Iterable[str]) -> dict[str, Course]:
        """Courses that are kept of these jobs, as they were given; of jobs without any readings, empty ones."""
        found: dict[str, Course] = {}
        with self.reading() as session:
            for ids in batches(sorted(job_ids)):
                query = select(JobCourseRow.job_id, JobCourseRow.body).where(col(JobCourseRow.job_id).in_(ids))
                found |= {job_id: unpacked(body) for job_id, body in session.exec(query).all()}
        return found

    def without_course(self, *, finished_before: datetime, after: str, limit: int) -> list[JobRecord]:
        """Jobs that ended before then and have no course kept, by id; those behind the id `after`."""
        query = (
            select(cast(col(JobRow.record), Text))
            .join(JobCourseRow, isouter=True)
            .where(col(JobRow.finished_at) < finished_before, col(JobRow.id) > after)
            .where(col(JobCourseRow.job_id).is_(None))
        )
        with self.reading() as session:
            texts = session.exec(query.order_by(col(JobRow.id)).limit(limit)).all()
        return [JobRecord.model_validate_json(text) for text in texts]

    def keep_course(self, job_id: str, make: Callable[[Course], Course | None]) -> None:
        """Keep what `make` gives of a job's readings, if it gives anything and no more readings come meanwhile.

        Nobody waits while they are read, for that may take long; then they are only counted: none ever goes.
        """
        with self.reading() as session:
            course = courses_in(session, [job_id]).get(job_id, Course.of(()))
        made = make(course)
        if made is None:
            return
        body = packed(made)
        with self.writing() as session:
            session.exec(select(JobRow.id).where(JobRow.id == job_id).with_for_update()).all()
            if rows_in(session, job_id) == len(course):
                insert_new(session, JobCourseRow, [{"job_id": job_id, "body": body}])


def forget_courses(session: Session, job_ids: Sequence[str]) -> None:
    """Throw away what is kept of these jobs, by id, for readings of theirs are being stored: once in a transaction, so
    that two never wait for each other.

    Whoever keeps the course of one of them waits for the end of this transaction, or this one for his.
    """
    for ids in batches(job_ids):
        known = select(JobRow.id).where(col(JobRow.id).in_(ids)).order_by(col(JobRow.id))
        session.exec(known.with_for_update(read=True, key_share=True)).all()
    for ids in batches(job_ids):
        theirs = select(JobCourseRow.job_id).where(col(JobCourseRow.job_id).in_(ids))
        kept = session.exec(theirs.order_by(col(JobCourseRow.job_id)).with_for_update()).all()
        if kept:
            session.connection().execute(delete(JobCourseRow).where(col(JobCourseRow.job_id).in_(kept)))


def packed(course: Course) -> bytes:
    """A course as bytes: a line of JSON (rows, regions), then its columns one after another, little-endian."""
    head = json.dumps({"rows": len(course), "regions": course.regions})
    columns = (getattr(course, name).astype(kind).tobytes() for name, kind in zip(_COLUMNS, _TYPES, strict=True))
    return b"".join((head.encode(), b"\n", *columns))


def unpacked(body: bytes) -> Course:
    """The course that was packed."""
    at = body.index(b"\n") + 1
    head = json.loads(body[:at])
    columns = {}
    for name, kind in zip(_COLUMNS, _TYPES, strict=True):
        columns[name] = np.frombuffer(body, dtype=kind, count=head["rows"], offset=at)
        at += columns[name].nbytes
    return Course(**columns, regions=tuple(head["regions"]))
