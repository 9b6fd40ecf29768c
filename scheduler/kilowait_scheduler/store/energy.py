"""Energy as it was measured: of jobs, and of regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Executable, func, type_coerce
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course, from_us, joined, to_us
from kilowait_scheduler.core.energy import RegionEnergy
from kilowait_scheduler.core.hours import HOUR_US

from .bulk import batches
from .tables import EnergyHourRow, ReadingRow, ShareRow

_ROWS_AT_ONCE = 20_000  # each takes ten times the memory of a course's


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
        with self.reading() as session:
            return courses_in(session, job_ids)

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
        first = _hours(start, up=True) if start is not None else None
        last = _hours(end, up=False) if end is not None else None
        if first is not None and last is not None and first >= last:
            parts = [_sums(ReadingRow, start, end)]
        else:
            parts = [_sums(EnergyHourRow, first, last)]
            parts += [_sums(ReadingRow, start, first)] if start != first else []
            parts += [_sums(ReadingRow, last, end)] if end != last else []
        found: dict[str, list[int]] = {}
        with self.reading() as session:
            for part in parts:
                for region, *amounts in session.execute(part).all():
                    known = found.setdefault(region, [0] * len(amounts))
                    found[region] = [one + int(more) for one, more in zip(known, amounts, strict=True)]
        return [RegionEnergy(region, *amounts) for region, amounts in sorted(found.items())]

    def energy_sources(self) -> dict[str, set[str]]:
        """Which meters (nvml, simulated) measured in each region."""
        found: dict[str, set[str]] = {}
        with self.reading() as session:
            for region, source in session.exec(select(EnergyHourRow.region, EnergyHourRow.source).distinct()).all():
                found.setdefault(region, set()).add(source)
        return found


def _hours(moment: datetime, *, up: bool) -> datetime:
    """The whole hour at `moment`, or the next one or the one before."""
    at = to_us(moment)
    return from_us(-(-at // HOUR_US) * HOUR_US if up else at // HOUR_US * HOUR_US)


def _sums(table: type[ReadingRow | EnergyHourRow], start: datetime | None, end: datetime | None) -> Executable:
    """Energy, idle and unattributed by region, of rows that begin in [start, end)."""
    amounts = (func.sum(table.energy_mj), func.sum(table.idle_mj), func.sum(table.unattributed_mj))
    query = sql_select(col(table.region), *amounts).group_by(col(table.region))
    if start is not None:
        query = query.where(col(table.start) >= start)
    return query.where(col(table.start) < end) if end is not None else query


def courses_in(session: Session, job_ids: Iterable[str]) -> dict[str, Course]:
    """Every reading of jobs as a course each; jobs without any are absent."""
    found: dict[str, list[Course]] = {}
    columns: list[Any] = [
        ShareRow.job_id,
        type_coerce(ShareRow.start, BigInteger),
        type_coerce(ShareRow.end, BigInteger),
        ShareRow.energy_mj,
        ShareRow.region,
        ShareRow.uncertainty_pct,
        ShareRow.estimated,
    ]
    for ids in batches(sorted(job_ids)):
        query = sql_select(*columns).where(col(ShareRow.job_id).in_(ids), col(ShareRow.energy_mj) > 0)
        ordered = query.order_by(col(ShareRow.job_id), col(ShareRow.start))
        # Straight from the connection: millions of plain values are nothing to map, nor to hold as such.
        for rows in session.connection().execute(ordered.execution_options(yield_per=_ROWS_AT_ONCE)).partitions():
            for job_id, part in _courses(*zip(*rows, strict=True)).items():
                found.setdefault(job_id, []).append(part)
    return {job_id: joined(parts) for job_id, parts in found.items()}


def rows_in(session: Session, job_id: str) -> int:
    """How many rows the course of all of a job's readings has."""
    query = select(func.count()).select_from(ShareRow)
    return session.exec(query.where(ShareRow.job_id == job_id, col(ShareRow.energy_mj) > 0)).one()


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
