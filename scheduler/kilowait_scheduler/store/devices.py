"""Readings by device: what each drew for a job, and what it draws when nobody holds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import and_
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.held import Held

from .tables import ReadingRow, ShareRow

_MOST_IDLE = 2000  # readings are enough to know what a device draws idle


class Devices(ABC):
    """The part of the repository that tells devices apart."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    def held(self, job_id: str) -> Held:
        """Every interval of energy attributed to a job, with its device and run; gaps are not in it."""
        same = and_(col(ShareRow.stream_id) == col(ReadingRow.stream_id), col(ShareRow.seq) == col(ReadingRow.seq))
        columns: list[Any] = [
            ShareRow.start,
            ShareRow.end,
            ShareRow.energy_mj,
            ShareRow.region,
            ShareRow.uncertainty_pct,
            ShareRow.estimated,
            ReadingRow.device_uuid,
            ShareRow.run_id,
            ReadingRow.energy_mj,
        ]
        query = sql_select(*columns).join_from(ShareRow, ReadingRow, same)
        query = query.where(col(ShareRow.job_id) == job_id, col(ShareRow.energy_mj) > 0)
        with self.reading() as session:
            rows = session.execute(query.order_by(col(ShareRow.start))).all()
        start, end, energy_mj, region, uncertainty, estimated, device, run, whole_mj = (
            zip(*rows, strict=True) if rows else ((),) * len(columns)
        )
        place, regions = _numbered(region)
        devices, names = _numbered(device)
        number, runs = _numbered(run)
        course = Course(
            _us(start),
            _us(end),
            np.array(energy_mj, dtype=np.int64),
            place,
            np.array(uncertainty, dtype=np.float64),
            np.array(estimated, dtype=np.bool_),
            regions,
        )
        return Held(course, devices, number, course.energy_mj == np.array(whole_mj, dtype=np.int64), names, runs)

    def idle_power_w(self, devices: Iterable[str], *, start: datetime, end: datetime) -> float | None:
        """Mean power of devices while nobody held them, of readings that begin in [start, end); None without any."""
        query = (
            select(ReadingRow.start, ReadingRow.end, ReadingRow.energy_mj)
            .where(
                col(ReadingRow.device_uuid).in_(list(devices)),
                col(ReadingRow.start) >= start,
                col(ReadingRow.start) < end,
                col(ReadingRow.energy_mj) > 0,
                col(ReadingRow.idle_mj) == col(ReadingRow.energy_mj),
                ReadingRow.quality == "measured",
            )
            .limit(_MOST_IDLE)
        )
        with self.reading() as session:
            rows = session.exec(query).all()
        seconds = sum(((end - start) for start, end, _ in rows), timedelta(0)).total_seconds()
        return sum(energy for _, _, energy in rows) / 1000 / seconds if seconds else None


def _us(moments: Iterable[datetime]) -> Any:
    return np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[us]").astype(np.int64)


def _numbered(names: Iterable[str]) -> tuple[Any, tuple[str, ...]]:
    """Each name's number, and the names in the order of their numbers."""
    given = list(names)
    number = {name: index for index, name in enumerate(dict.fromkeys(given))}
    return np.array([number[name] for name in given], dtype=np.int64), tuple(number)
