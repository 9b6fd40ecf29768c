"""The one door to the database, in domain values: jobs with their journal, regions, tokens.

Every method is one short transaction. Writers of a job state the version they read; a stale one gets Conflict.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime

from sqlalchemy import Engine, Text, case, cast, func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, or_, select

from kilowait_scheduler.core.errors import Conflict, NotFound
from kilowait_scheduler.core.events import EVENT, Event
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Phase

from .contracts import Contracts
from .courses import Courses
from .devices import Devices
from .energy import Energy
from .engine import WRITES
from .intake import Intake
from .intensity import Intensity
from .ledger import Ledger
from .tables import CarbonPriceRow, EventRow, JobRow, LedgerRow, RegionRow, RunRow, TokenRow
from .tallies import Tallies

# A job as the text that is kept: parsed once, into the record, and not first into lists and dicts.
_RECORD = cast(col(JobRow.record), Text)


class Store(Intake, Energy, Courses, Intensity, Devices, Contracts, Tallies, Ledger):
    """Jobs, journal, regions, tokens; `Intake` takes readings in, `Energy` sums them, `Courses` keeps what ended jobs
    drew, `Devices` tells them by device; `Intensity` is the grid's, `Contracts` clean supply, `Tallies` counters,
    `Ledger` budgets and books.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(**{WRITES: True})
        # SQLite lets one write and has the others ask again and again: here they queue up, and none of them starves.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self._turn, Session(self._writing) as session, session.begin():
            yield session

    # Jobs

    def add_job(self, record: JobRecord, *, idempotency_key: str | None = None) -> JobRecord:
        """Store a new job; a repeated key gives the job of its first use. Raises nothing on repetition."""
        try:
            with self.writing() as session:
                session.add(_job_row(record, idempotency_key))
        except IntegrityError:
            first = self.job_of_key(idempotency_key) if idempotency_key is not None else None
            if first is None:
                raise
            return first
        return record

    def job_of_key(self, idempotency_key: str) -> JobRecord | None:
        """The job that was submitted under this key; None where the key is new."""
        with self.reading() as session:
            row = session.exec(select(JobRow).where(JobRow.idempotency_key == idempotency_key)).first()
            return JobRecord.model_validate(row.record) if row else None

    def job(self, job_id: str) -> JobRecord:
        """One job by its id, or by a name that only one job has. Raises NotFound."""
        with self.reading() as session:
            row = session.get(JobRow, job_id)
            if row is None:
                named = session.exec(select(JobRow).where(JobRow.name == job_id).limit(2)).all()
                row = named[0] if len(named) == 1 else None
                if len(named) > 1:
                    raise NotFound(f"several jobs are named {job_id!r}; use an id from `kilowait jobs`")
            if row is None:
                raise NotFound(f"no job {job_id!r}; `kilowait jobs` lists them")
            return JobRecord.model_validate(row.record)

    def jobs(
        self, *, phases: Iterable[Phase] | None = None, after: str | None = None, limit: int | None = None
    ) -> list[JobRecord]:
        """Jobs in order of submission; `after` is the id of the last one of the page before."""
        query = select(_RECORD).order_by(col(JobRow.id))
        if phases is not None:
            query = query.where(col(JobRow.phase).in_([phase.value for phase in phases]))
        if after is not None:
            query = query.where(col(JobRow.id) > after)
        with self.reading() as session:
            return [JobRecord.model_validate_json(text) for text in session.exec(query.limit(limit))]

    def active_jobs(self) -> list[JobRecord]:
        """Every job that has not ended."""
        return self.jobs(phases=[phase for phase in Phase if not phase.final])

    def jobs_to_settle(self, *, finished_since: datetime) -> list[JobRecord]:
        """Every job that has not ended, or ended at `finished_since` or later, in order of submission."""
        finished = col(JobRow.finished_at)
        signed = case((col(LedgerRow.credit).startswith("held:"), LedgerRow.amount_ug), else_=-col(LedgerRow.amount_ug))
        moved = or_(col(LedgerRow.credit).startswith("held:"), col(LedgerRow.debit).startswith("held:"))
        holding = select(LedgerRow.job_id).where(moved).group_by(LedgerRow.job_id).having(func.sum(signed) > 0)
        due = or_(finished.is_(None), finished >= finished_since, col(JobRow.id).in_(holding))
        query = select(_RECORD).where(due).order_by(col(JobRow.id))
        with self.reading() as session:
            return [JobRecord.model_validate_json(text) for text in session.exec(query)]

    def finished_like(self, name: str, *, limit: int = 20) -> list[JobRecord]:
        """The last jobs of the same name that succeeded: the history of a job class."""
        query = (
            select(_RECORD)
            .where(JobRow.name == name, JobRow.phase == Phase.SUCCEEDED.value)
            .order_by(col(JobRow.id).desc())
            .limit(limit)
        )
        with self.reading() as session:
            return [JobRecord.model_validate_json(text) for text in session.exec(query)]

    def change_job(self, record: JobRecord, state: JobState, event: Event) -> JobRecord:
        """Commit `state` and the event that led to it, if nobody else changed the job meanwhile. Raises Conflict."""
        changed = record.model_copy(update={"state": state, "version": record.version + 1})
        try:
            with self.writing() as session:
                row = session.get(JobRow, record.id, with_for_update=True)
                if row is None or row.version != record.version:
                    raise Conflict(f"job {record.id} changed meanwhile; read it again")
                row.record = changed.model_dump(mode="json")
                row.version, row.phase, row.finished_at = changed.version, state.phase.value, state.finished_at
                session.add(row)
                session.add(
                    EventRow(
                        job_id=record.id,
                        at=event.at,
                        type=event.type,
                        reason=state.reason.value,
                        body=event.model_dump(mode="json"),
                    )
                )
                session.flush()
                for run in state.runs:
                    if run.phase.value != _known_phase(session, run.submission_id):
                        session.merge(
                            RunRow(
                                submission_id=run.submission_id,
                                job_id=record.id,
                                n=run.n,
                                region=run.region,
                                phase=run.phase.value,
                            )
                        )
                        session.flush()
        except IntegrityError as error:
            raise Conflict(f"job {record.id}: a second live run was refused by the database") from error
        return changed

    def events(self, job_id: str) -> list[Event]:
        """The journal of a job, in order."""
        with self.reading() as session:
            rows = session.exec(select(EventRow).where(EventRow.job_id == job_id).order_by(col(EventRow.id))).all()
            return [EVENT.validate_python(row.body) for row in rows]

    def last_event(self) -> int:
        """Number of the newest journal entry; 0 where there is none."""
        with self.reading() as session:
            return session.exec(select(func.max(EventRow.id))).one() or 0

    def events_after(self, number: int, *, limit: int = 500) -> list[tuple[int, str, Event]]:
        """Journal entries of all jobs after `number`, in order: (number, job id, event)."""
        query = select(EventRow).where(col(EventRow.id) > number).order_by(col(EventRow.id)).limit(limit)
        with self.reading() as session:
            return [(row.id or 0, row.job_id, EVENT.validate_python(row.body)) for row in session.exec(query).all()]

    def count_by_phase(self) -> dict[Phase, int]:
        """How many jobs are in each phase."""
        query = select(JobRow.phase, func.count()).group_by(JobRow.phase)
        with self.reading() as session:
            return {Phase(phase): count for phase, count in session.exec(query).all()}

    # Regions

    def regions(self) -> list[Region]:
        with self.reading() as session:
            rows = session.exec(select(RegionRow).order_by(col(RegionRow.position), col(RegionRow.name))).all()
            return [Region.model_validate(row.record) for row in rows]

    def put_region(self, region: Region) -> None:
        """Add a region, or replace the one of the same name in its place."""
        with self.writing() as session:
            known = session.get(RegionRow, region.name)
            count = session.exec(select(func.count()).select_from(RegionRow)).one()
            position = known.position if known else count
            session.merge(RegionRow(name=region.name, position=position, record=region.model_dump(mode="json")))

    # Prices

    def carbon_prices(self) -> list[CarbonPrice]:
        """Internal prices on carbon, by id."""
        with self.reading() as session:
            rows = session.exec(select(CarbonPriceRow).order_by(col(CarbonPriceRow.id))).all()
            return [CarbonPrice.model_validate(row.record) for row in rows]

    def put_carbon_price(self, price: CarbonPrice) -> None:
        """Add a price, or replace the one of the same id."""
        with self.writing() as session:
            session.merge(CarbonPriceRow(id=price.id, record=price.model_dump(mode="json")))

    def remove_carbon_price(self, id_: str) -> None:
        """Remove a price. Raises NotFound."""
        with self.writing() as session:
            row = session.get(CarbonPriceRow, id_)
            if row is None:
                raise NotFound(f"no carbon price {id_!r}; `kilowait price` lists them")
            session.delete(row)

    # Tokens

    def add_token(self, *, id_: str, name: str, role: str, sha256: str, at: datetime, node: str | None = None) -> None:
        with self.writing() as session:
            session.add(TokenRow(id=id_, name=name, role=role, sha256=sha256, created_at=at, node=node))

    def token(self, sha256: str) -> TokenRow | None:
        """A token by its hash; None where it is unknown."""
        with self.reading() as session:
            return session.exec(select(TokenRow).where(TokenRow.sha256 == sha256)).first()

    def tokens(self) -> list[TokenRow]:
        with self.reading() as session:
            return list(session.exec(select(TokenRow).order_by(col(TokenRow.created_at))).all())

    def remove_token(self, id_: str) -> None:
        """Revoke a token. Raises NotFound."""
        with self.writing() as session:
            row = session.get(TokenRow, id_)
            if row is None:
                raise NotFound(f"no token {id_!r}")
            session.delete(row)


def _known_phase(session: Session, submission_id: str) -> str | None:
    row = session.get(RunRow, submission_id)
    return row.phase if row else None


def _job_row(record: JobRecord, idempotency_key: str | None) -> JobRow:
    return JobRow(
        id=record.id,
        name=record.spec.name,
        team=record.spec.team,
        project=record.spec.project,
        phase=record.state.phase.value,
        submitted_at=record.submitted_at,
        deadline=record.spec.due,
        finished_at=record.state.finished_at,
        version=record.version,
        idempotency_key=idempotency_key,
        record=record.model_dump(mode="json"),
    )
