"""Readings of agents and intensity of zones: what was measured, stored once, kept as it was first said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import BigInteger, Table, func, type_coerce, update
from sqlalchemy import select as sql_select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import Signal, require_average
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.energy import Readings, RegionEnergy

from .tables import ForecastRow, ReadingRow, RealisedRow, ShareRow, StreamRow

_STEP = 1000  # rows
_ROWS_A_STATEMENT = 125  # of 15 columns: SQLite may be built to take no more than 2,000 values or so


class Measurements(ABC):
    """The part of the repository that deals in time series."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    # Energy

    def add_readings(self, readings: Readings, *, at: datetime) -> tuple[dict[str, int], list[int]]:
        """Store readings of one agent once, all or none.

        Returns the highest contiguous sequence stored per stream epoch (0: none), and the sequences that came again
        with other content (kept as first said).
        """
        stored: dict[str, int] = {}
        conflicts: list[int] = []
        with self.writing() as session:
            for epoch, part in readings.by_epoch():
                stream = _locked(session, readings.agent_id, epoch, at=at)
                conflicts += _keep(session, stream.id, part)
                stored[epoch] = _advance(session, stream, part.columns["seq"], at=at)
        return stored, conflicts

    def nodes_of(self, agent_id: str) -> set[str]:
        """The node that an agent's readings were of so far; none before its first."""
        query = select(ReadingRow.node).join(StreamRow, col(StreamRow.id) == col(ReadingRow.stream_id))
        with self.reading() as session:
            return set(session.exec(query.where(StreamRow.agent_id == agent_id).limit(1)).all())

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

    # Intensity

    def add_forecast(self, forecast: Forecast) -> None:
        """Archive a forecast as issued; the same one again is kept once."""
        with self.writing() as session:
            issued = (ForecastRow.zone == forecast.zone.id, ForecastRow.issued_at == forecast.issued_at)
            if session.exec(select(ForecastRow.id).where(*issued, ForecastRow.source == forecast.source)).first():
                return
            session.add(
                ForecastRow(
                    zone=forecast.zone.id,
                    signal=str(forecast.signal),
                    source=forecast.source,
                    issued_at=forecast.issued_at,
                    available_at=forecast.available_at,
                    body={
                        "p10": _plain(forecast.low),
                        "p50": _plain(forecast.series),
                        "p90": _plain(forecast.high),
                        "parts": [[p.start.isoformat(), p.source, p.note] for p in forecast.parts],
                    },
                )
            )

    def forecasts_issued(
        self, zone: str, *, signal: Signal, start: datetime, end: datetime, every: timedelta
    ) -> list[tuple[datetime, IntensitySeries]]:
        """Medians of archived forecasts with their issue times in [start, end), the first of each `every` at most."""
        wanted = (
            ForecastRow.zone == zone,
            ForecastRow.signal == str(signal),
            col(ForecastRow.issued_at) >= start,
            col(ForecastRow.issued_at) < end,
        )
        query = select(ForecastRow.id, ForecastRow.issued_at).where(*wanted).order_by(col(ForecastRow.issued_at))
        chosen: dict[int, int | None] = {}
        with self.reading() as session:
            for row_id, issued_at in session.exec(query).all():
                chosen.setdefault((issued_at - start) // every, row_id)
            rows = session.exec(select(ForecastRow).where(col(ForecastRow.id).in_(chosen.values()))).all()
        return sorted(((row.issued_at, _series(row, row.body["p50"])) for row in rows), key=lambda one: one[0])

    def forecast_numbers(
        self, zone: str, *, signal: Signal, start: datetime, end: datetime
    ) -> list[tuple[datetime, int]]:
        """When each archived forecast that became available in [start, end] did, and its number, oldest first."""
        query = select(ForecastRow.available_at, ForecastRow.id).where(
            ForecastRow.zone == zone,
            ForecastRow.signal == str(signal),
            col(ForecastRow.available_at) >= start,
            col(ForecastRow.available_at) <= end,
        )
        with self.reading() as session:
            return [
                (at, number) for at, number in session.exec(query.order_by(col(ForecastRow.available_at))) if number
            ]

    def forecast(self, number: int) -> tuple[datetime, str, IntensitySeries]:
        """An archived forecast by its number: when it was issued, by whom, its median."""
        with self.reading() as session:
            row = session.get_one(ForecastRow, number)
            return row.issued_at, row.source, _series(row, row.body["p50"])

    def add_realised(self, series: IntensitySeries, *, at: datetime) -> None:
        """Keep realised intensity; a later word on a slot (measured for estimated, a revision) takes its place.

        So it does on slots of other lengths that it overlaps: what is kept never says two things of one instant.
        """
        begins = {slot.start for slot in series.slots}
        known = select(RealisedRow).where(
            RealisedRow.zone == series.zone.id,
            RealisedRow.signal == str(series.signal),
            col(RealisedRow.end) > series.start,
            col(RealisedRow.start) < series.end,
        )
        with self.writing() as session:
            for row in session.exec(known).all():
                if row.start in begins or list(series.gaps(row.start, row.end)) != [(row.start, row.end)]:
                    session.delete(row)
            session.flush()
            common = {"zone": series.zone.id, "signal": str(series.signal), "source": series.source, "seen_at": at}
            rows = [
                {**common, "start": s.start, "end": s.end, "g_per_kwh": s.g_per_kwh, "estimated": s.estimated}
                for s in series.slots
            ]
            insert_new(session, RealisedRow, rows)

    def realised(self, zone: str, *, signal: Signal, start: datetime, end: datetime) -> IntensitySeries | None:
        """What is known of a zone's intensity on [start, end), perhaps with gaps; None where nothing is."""
        columns: list[Any] = [
            RealisedRow.start,
            RealisedRow.end,
            RealisedRow.g_per_kwh,
            RealisedRow.estimated,
            RealisedRow.source,
        ]
        query = sql_select(*columns).where(
            col(RealisedRow.zone) == zone,
            col(RealisedRow.signal) == str(signal),
            col(RealisedRow.end) > start,
            col(RealisedRow.start) < end,
        )
        with self.reading() as session:
            rows = session.execute(query.order_by(col(RealisedRow.start))).all()
        if not rows:
            return None
        sources = "+".join(sorted({source for *_, source in rows}))
        slots = [Slot(*slot) for *slot, _ in rows]
        return IntensitySeries(zone=Zone(zone), signal=signal, source=sources, slots=slots)

    def realised_seen(
        self, zone: str, *, signal: Signal, since: datetime
    ) -> tuple[datetime, datetime, datetime] | None:
        """First start and last end of the slots kept that start at `since` or later, and when the one longest not
        asked for was last seen; None where there are none.
        """
        query = select(func.min(RealisedRow.start), func.max(RealisedRow.end), func.min(RealisedRow.seen_at)).where(
            RealisedRow.zone == zone, RealisedRow.signal == str(signal), col(RealisedRow.start) >= since
        )
        with self.reading() as session:
            first, last, seen = session.exec(query).one()
        return (first, last, seen) if first is not None else None


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


def _keep(session: Session, stream: int, readings: Readings) -> list[int]:
    """Store what is new of a stream's readings; the sequences that were stored before with other content."""
    seqs = readings.columns["seq"]
    conflicts: list[int] = []
    if _insert_many(session, ReadingRow, {**readings.columns, "stream_id": [stream] * len(readings)}) < len(readings):
        query = select(ReadingRow.seq, ReadingRow.digest).where(
            ReadingRow.stream_id == stream, col(ReadingRow.seq).in_(seqs)
        )
        known = dict(session.exec(query).all())
        told = zip(seqs, readings.columns["digest"], strict=True)
        conflicts = [seq for seq, digest in told if known[seq] not in ("", digest)]
        if conflicts:
            readings = readings.only([at for at, seq in enumerate(seqs) if seq not in set(conflicts)])
    _insert_many(session, ShareRow, _share_columns(stream, readings))
    return conflicts


def _share_columns(stream: int, readings: Readings) -> dict[str, Sequence[Any]]:
    """The values of readings' shares by column of their table."""
    places = readings.shares["record"]
    of = {
        name: [readings.columns[name][place] for place in places]
        for name in ("seq", "region", "start", "end", "uncertainty_pct", "quality")
    }
    own = {"stream_id": [stream] * len(places), "estimated": [quality == "estimated" for quality in of["quality"]]}
    return {**of, **own, **readings.shares}


class _Stream(NamedTuple):
    """A stream's number, how far it is stored without a hole, and the highest sequence stored."""

    id: int
    through: int
    highest: int


def _locked(session: Session, agent_id: str, epoch: str, *, at: datetime) -> _Stream:
    """The stream, ours alone until the end of the transaction: an agent that lost an answer may send twice."""
    columns: list[Any] = [StreamRow.id, StreamRow.stored_through, StreamRow.highest]
    query = sql_select(*columns).where(col(StreamRow.agent_id) == agent_id, col(StreamRow.stream_epoch) == epoch)
    connection = session.connection()
    known = connection.execute(query.with_for_update()).first()
    if known is None:
        key = {"agent_id": agent_id, "stream_epoch": epoch}
        insert_new(session, StreamRow, [{**key, "stored_through": 0, "highest": 0, "last_seen_at": at}])
        known = connection.execute(query.with_for_update()).one()
    return _Stream(*known)


def _advance(session: Session, stream: _Stream, seqs: Sequence[int], *, at: datetime) -> int:
    """How far the stream is stored without a hole, now that `seqs` are."""
    through = stream.through
    for seq in sorted(seqs):
        if seq > through + 1:
            break
        if seq > through:
            through = seq
    highest = max(stream.highest, *seqs)
    if stream.through < through < highest:  # what had come before its turn may follow
        through = _without_hole(session, stream.id, through)
    values = {"stored_through": through, "highest": highest, "last_seen_at": at}
    session.connection().execute(update(StreamRow).where(col(StreamRow.id) == stream.id).values(values))
    return through


def _without_hole(session: Session, stream: int, through: int) -> int:
    """The last of the sequences after `through` that follow one another; read in steps, there may be very many."""
    while True:
        later = sql_select(col(ReadingRow.seq)).where(
            col(ReadingRow.stream_id) == stream, col(ReadingRow.seq) > through
        )
        found = session.connection().scalars(later.order_by(col(ReadingRow.seq)).limit(_STEP)).all()
        for seq in found:
            if seq != through + 1:
                return through
            through = seq
        if len(found) < _STEP:
            return through


def _insert_many(session: Session, table: type[SQLModel], columns: Mapping[str, Sequence[Any]]) -> int:
    """Insert rows, given by column as the driver takes them, leaving those whose key is there already; how many were
    new.

    Straight to the driver: for thousands of rows a second, building each through the ORM costs more than the database.
    PostgreSQL takes whole columns as arrays, in its own binary form, at half the cost of one row after another; SQLite
    many rows in a statement, at two thirds, and in one step: between two steps other threads take turns.
    """
    target: Table = table.__table__  # type: ignore[attr-defined]
    values = [columns[column.name] for column in target.columns]
    if not values[0]:
        return 0
    connection = session.connection()
    names = ", ".join(f'"{column.name}"' for column in target.columns)
    insert = f'INSERT INTO "{target.name}" ({names})'  # our own names
    if connection.dialect.name == "postgresql":
        arrays = ", ".join(f"%b::{column.type.compile(connection.dialect)}[]" for column in target.columns)
        select = f"SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
        return connection.exec_driver_sql(f"{insert} {select}", tuple(map(list, values))).rowcount
    row = f"({', '.join(['?'] * len(values))})"
    fresh = 0
    for start in range(0, len(values[0]), _ROWS_A_STATEMENT):
        parts = [column[start : start + _ROWS_A_STATEMENT] for column in values]
        flat: list[Any] = [None] * (len(parts) * len(parts[0]))
        for place, part in enumerate(parts):
            flat[place :: len(parts)] = part
        several = f"{insert} VALUES {', '.join([row] * len(parts[0]))} ON CONFLICT DO NOTHING"
        fresh += connection.exec_driver_sql(several, tuple(flat)).rowcount
    return fresh


def _series(row: ForecastRow, plain: list[list[Any]]) -> IntensitySeries:
    slots = [
        Slot(datetime.fromisoformat(start), datetime.fromisoformat(end), g_per_kwh, estimated)
        for start, end, g_per_kwh, estimated in plain
    ]
    return IntensitySeries(
        zone=Zone(row.zone), signal=require_average(Signal.parse(row.signal)), source=row.source, slots=slots
    )


def _plain(series: IntensitySeries | None) -> list[list[Any]] | None:
    if series is None:
        return None
    return [[s.start.isoformat(), s.end.isoformat(), s.g_per_kwh, s.estimated] for s in series.slots]


def insert_new(session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, leaving those whose key is there already as they are."""
    if not rows:
        return
    target: Table = table.__table__  # type: ignore[attr-defined]
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    session.execute(insert(target).on_conflict_do_nothing(), list(rows))
