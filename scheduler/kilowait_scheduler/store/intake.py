"""Readings of agents on their way in: each stored once, kept as it was first said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Table, update
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.course import from_us
from kilowait_scheduler.core.energy import Readings
from kilowait_scheduler.core.hours import HOUR_US

from .bulk import insert_columns, insert_into, insert_new
from .courses import forget_courses
from .tables import EnergyHourRow, ReadingRow, ShareRow, StreamRow

_STEP = 1000  # rows
_SUMMED = ("energy_mj", "idle_mj", "unattributed_mj")


class Intake(ABC):
    """The part of the repository that takes readings in."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    def add_readings(self, readings: Readings, *, at: datetime) -> tuple[dict[str, int], list[int]]:
        """Store readings of one agent once, all or none.

        Returns the highest contiguous sequence stored per stream epoch (0: none), and the sequences that came again
        with other content (kept as first said).
        """
        stored: dict[str, int] = {}
        conflicts: list[int] = []
        jobs: set[str] = set()
        with self.writing() as session:
            for epoch, part in readings.by_epoch():
                stream = _locked(session, readings.agent_id, epoch, at=at)
                fresh, others = _told_apart(session, stream, part)
                if len(fresh):
                    _keep(session, stream.id, fresh)
                conflicts += others
                jobs |= set(fresh.shares["job_id"])
                stored[epoch] = _advance(session, stream, part.columns["seq"], at=at)
            forget_courses(session, sorted(jobs))
        return stored, conflicts

    def nodes_of(self, agent_id: str) -> set[str]:
        """The node that an agent's readings were of so far; none before its first."""
        query = select(ReadingRow.node).join(StreamRow, col(StreamRow.id) == col(ReadingRow.stream_id))
        with self.reading() as session:
            return set(session.exec(query.where(StreamRow.agent_id == agent_id).limit(1)).all())


def _keep(session: Session, stream: int, readings: Readings) -> None:
    """Store new readings of a stream, with their shares and in the sums of their hours."""
    insert_columns(session, ReadingRow, {**readings.columns, "stream_id": [stream] * len(readings)})
    insert_columns(session, ShareRow, _share_columns(stream, readings))
    _add_to_hours(session, stream, readings)


def _told_apart(session: Session, stream: _Stream, readings: Readings) -> tuple[Readings, list[int]]:
    """Those that are not stored yet, each once, and the sequences of those that are, or come twice, otherwise."""
    seqs, digests = readings.columns["seq"], readings.columns["digest"]
    known: dict[int, str] = {}
    if min(seqs) <= stream.highest:
        query = select(ReadingRow.seq, ReadingRow.digest).where(
            ReadingRow.stream_id == stream.id, col(ReadingRow.seq).in_(seqs)
        )
        known = dict(session.exec(query).all())
    fresh: list[int] = []
    conflicts: list[int] = []
    for place, (seq, digest) in enumerate(zip(seqs, digests, strict=True)):
        if seq not in known:
            known[seq] = digest
            fresh.append(place)
        elif known[seq] not in ("", digest):
            conflicts.append(seq)
    return (readings if len(fresh) == len(readings) else readings.only(fresh)), conflicts


def _add_to_hours(session: Session, stream: int, readings: Readings) -> None:
    """Add new readings to the sums of their hours."""
    sums: dict[tuple[int, str, str], list[int]] = {}
    columns = (readings.columns[name] for name in ("start", "region", "source", *_SUMMED))
    for start, region, source, *amounts in zip(*columns, strict=True):
        found = sums.setdefault((start - start % HOUR_US, region, source), [0] * len(_SUMMED))
        for place, amount in enumerate(amounts):
            found[place] += amount
    target: Table = EnergyHourRow.__table__  # type: ignore[attr-defined]
    fresh = insert_into(session, target)
    adding = fresh.on_conflict_do_update(
        index_elements=list(target.primary_key.columns),
        set_={name: target.c[name] + fresh.excluded[name] for name in _SUMMED},
    )
    rows = [
        {"stream_id": stream, "start": from_us(start), "region": region, "source": source}
        | dict(zip(_SUMMED, amounts, strict=True))
        for (start, region, source), amounts in sorted(sums.items())
    ]
    session.connection().execute(adding, rows)


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
