"""Energy as it was measured: of jobs, and of regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, func, type_coerce
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.energy import RegionEnergy

from .tables import ReadingRow, ShareRow


class Energy(ABC):
    """The part of the repository that says what was measured."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    def job_energy(self, job_id: str) -> list[EnergyInterval]:
        """Every interval of energy attributed to a job, in order."""
        query = select(ShareRow).where(ShareRow.job_id == job_id, col(ShareRow.energy_mj) > 0)
        with self.reading() as session:
            rows = session.exec(query.order_by(col(ShareRow.start))).all()
        return [
            EnergyInterval(row.start, row.end, row.energy_mj, row.region, row.uncertainty_pct, row.estimated)
            for row in rows
        ]

    def energy_of(self, job_ids: Iterable[str]) -> dict[str, Course]:
        """The same of many jobs, in columns; jobs without any are absent."""
        found: dict[str, Course] = {}
        with self.reading() as session:
            columns: list[Any] = [
                ShareRow.job_id,
                type_coerce(ShareRow.start, BigInteger),
                type_coerce(ShareRow.end, BigInteger),
                ShareRow.energy_mj,
                ShareRow.region,
                ShareRow.uncertainty_pct,
                ShareRow.estimated,
            ]
            for ids in _batches(sorted(job_ids)):
                query = sql_select(*columns).where(col(ShareRow.job_id).in_(ids), col(ShareRow.energy_mj) > 0)
                # Straight from the connection: hundreds of thousands of plain values are nothing to map.
                ordered = query.order_by(col(ShareRow.job_id), col(ShareRow.start))
                rows = session.connection().execute(ordered).all()
                if rows:
                    found |= _courses(*zip(*rows, strict=True))
        return found

    def job_energy_mj(self, job_ids: Iterable[str]) -> dict[str, int]:
        """Total energy per job in millijoules; jobs without any reading are absent."""
        query = (
            select(ShareRow.job_id, func.sum(ShareRow.energy_mj))
            .where(col(ShareRow.job_id).in_(list(job_ids)))
            .group_by(ShareRow.job_id)
        )
        with self.reading() as session:
            return {job_id: int(total) for job_id, total in session.exec(query).all()}

    def region_energy(self, *, start: datetime | None = None, end: datetime | None = None) -> list[RegionEnergy]:
        """Energy of every region's devices, idle and unattributed as their own lines: of readings that begin in
        [start, end), so that each is in one period, though one of a long absence may reach into the next."""
        query = select(
            ReadingRow.region,
            func.sum(ReadingRow.energy_mj),
            func.sum(ReadingRow.idle_mj),
            func.sum(ReadingRow.unattributed_mj),
        ).group_by(ReadingRow.region)
        if start is not None:
            query = query.where(col(ReadingRow.start) >= start)
        if end is not None:
            query = query.where(col(ReadingRow.start) < end)
        with self.reading() as session:
            return [RegionEnergy(r, int(e), int(i), int(u)) for r, e, i, u in session.exec(query).all()]

    def energy_sources(self) -> dict[str, set[str]]:
        """Which meters (nvml, simulated) measured in each region."""
        found: dict[str, set[str]] = {}
        with self.reading() as session:
            for region, source in session.exec(select(ReadingRow.region, ReadingRow.source).distinct()).all():
                found.setdefault(region, set()).add(source)
        return found


def _courses(
    job_ids: Sequence[str],
    start: Sequence[int],
    end: Sequence[int],
    energy_mj: Sequence[int],
    region: Sequence[str],
    uncertainty_pct: Sequence[float],
    estimated: Sequence[bool],
) -> dict[str, Course]:
    """Columns of several jobs, in order of the jobs, as a course each."""
    regions = tuple(dict.fromkeys(region))
    number = {name: index for index, name in enumerate(regions)}
    whole = Course(
        np.array(start, dtype=np.int64),
        np.array(end, dtype=np.int64),
        np.array(energy_mj, dtype=np.int64),
        np.array([number[name] for name in region], dtype=np.int64),
        np.array(uncertainty_pct, dtype=np.float64),
        np.array(estimated, dtype=np.bool_),
        regions,
    )
    found, begin = {}, 0
    for job_id, rows in groupby(job_ids):
        count = sum(1 for _ in rows)
        found[job_id] = whole.rows(slice(begin, begin + count))
        begin += count
    return found


def _batches(ids: Sequence[str], *, most: int = 500) -> Iterator[Sequence[str]]:
    """`ids` in parts that a query may name: databases limit its length."""
    for start in range(0, len(ids), most):
        yield ids[start : start + most]
