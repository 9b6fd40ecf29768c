"""The tables. Times are UTC and aware on both engines; amounts are integers; JSON columns hold whole domain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlmodel import Field, SQLModel

LIVE_RUN = "phase IN ('submitting', 'unknown', 'pending', 'running', 'stopping')"

# SQLite numbers rows by itself only in a column typed INTEGER.
_ID = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out; SQLite forgets the zone, so it is put back. Naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.utcoffset() != timedelta(0):
            raise ValueError(f"{value!r} is not an aware UTC time")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Microseconds(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out, kept as whole microseconds since 1970: half the bytes, for the tables that have
    millions of them, and to be read in bulk as they are."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class JobRow(SQLModel, table=True):
    __tablename__ = "job"

    id: str = Field(primary_key=True)
    name: str = Field(index=True)
    team: str
    project: str
    phase: str = Field(index=True)
    submitted_at: datetime = Field(sa_type=UtcDateTime)
    deadline: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    version: int
    idempotency_key: str | None = Field(default=None, unique=True)
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class RunRow(SQLModel, table=True):
    __tablename__ = "run"
    __table_args__ = (
        Index(
            "one_live_run_per_job", "job_id", unique=True, sqlite_where=text(LIVE_RUN), postgresql_where=text(LIVE_RUN)
        ),
    )

    submission_id: str = Field(primary_key=True)
    job_id: str = Field(index=True, foreign_key="job.id")
    n: int
    region: str
    phase: str


class EventRow(SQLModel, table=True):
    """The journal: what happened to each job, in order, enough to replay its state."""

    __tablename__ = "event"

    id: int | None = Field(default=None, sa_column=Column(_ID, primary_key=True, autoincrement=True))
    job_id: str = Field(index=True, foreign_key="job.id")
    at: datetime = Field(sa_type=UtcDateTime)
    type: str
    reason: str
    body: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class RegionRow(SQLModel, table=True):
    __tablename__ = "region"

    name: str = Field(primary_key=True)
    position: int
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class ForecastRow(SQLModel, table=True):
    """Forecasts as issued: providers rewrite history, we do not."""

    __tablename__ = "forecast"
    __table_args__ = (Index("forecast_by_zone", "zone", "issued_at"),)

    id: int | None = Field(default=None, sa_column=Column(_ID, primary_key=True, autoincrement=True))
    zone: str
    signal: str
    source: str
    issued_at: datetime = Field(sa_type=UtcDateTime)
    available_at: datetime = Field(sa_type=UtcDateTime)
    body: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class RealisedRow(SQLModel, table=True):
    """Intensity as it turned out, slot by slot; `estimated` until the source says otherwise."""

    __tablename__ = "realised"

    zone: str = Field(primary_key=True)
    signal: str = Field(primary_key=True)
    start: datetime = Field(sa_column=Column("start", UtcDateTime, primary_key=True))
    end: datetime = Field(sa_column=Column("end", UtcDateTime, nullable=False))
    g_per_kwh: float
    estimated: bool
    source: str
    seen_at: datetime = Field(sa_type=UtcDateTime)


class StreamRow(SQLModel, table=True):
    """How far each agent's stream is stored without a hole, and at all."""

    __tablename__ = "stream"
    __table_args__ = (UniqueConstraint("agent_id", "stream_epoch"),)

    id: int | None = Field(default=None, sa_column=Column(_ID, primary_key=True, autoincrement=True))
    agent_id: str
    stream_epoch: str
    stored_through: int = Field(sa_type=BigInteger)
    highest: int = Field(sa_type=BigInteger)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)


class ReadingRow(SQLModel, table=True):
    """One interval record of an agent, stored once under its own key. `digest` is empty where an earlier release kept
    it."""

    __tablename__ = "reading"
    __table_args__ = {"sqlite_with_rowid": False}

    stream_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    region: str
    node: str
    source: str
    device_uuid: str
    start: datetime = Field(sa_column=Column("start", Microseconds, nullable=False, index=True))
    end: datetime = Field(sa_column=Column("end", Microseconds, nullable=False))
    energy_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    unattributed_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    quality: str
    method: str
    uncertainty_pct: float
    digest: str


class ShareRow(SQLModel, table=True):
    """A run's share of one interval record, where a job's lie together: by job and time."""

    __tablename__ = "energy_share"
    __table_args__ = {"sqlite_with_rowid": False}

    job_id: str = Field(primary_key=True)
    start: datetime = Field(sa_column=Column("start", Microseconds, primary_key=True))
    stream_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    run_id: str = Field(primary_key=True)
    region: str
    end: datetime = Field(sa_column=Column("end", Microseconds, nullable=False))
    energy_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    uncertainty_pct: float
    estimated: bool


class EnergyHourRow(SQLModel, table=True):
    """Sums of a stream's readings by the hour in which they begin, as they come in: years of readings are too many."""

    __tablename__ = "energy_hour"
    __table_args__ = {"sqlite_with_rowid": False}

    stream_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    start: datetime = Field(sa_column=Column("start", Microseconds, primary_key=True))
    region: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    energy_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_mj: int = Field(sa_column=Column(BigInteger, nullable=False))
    unattributed_mj: int = Field(sa_column=Column(BigInteger, nullable=False))


class JobCourseRow(SQLModel, table=True):
    """What an ended job drew, five minutes of it as one row, packed; gone as soon as another reading of it comes."""

    __tablename__ = "job_course"

    job_id: str = Field(primary_key=True, foreign_key="job.id")
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class BudgetRow(SQLModel, table=True):
    __tablename__ = "budget"

    id: str = Field(primary_key=True)
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class BudgetNoticeRow(SQLModel, table=True):
    """When a budget's period first passed a threshold."""

    __tablename__ = "budget_notice"

    account: str = Field(primary_key=True)
    threshold_pct: float = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class BudgetRequestRow(SQLModel, table=True):
    """What people asked for on top of a budget, and what was decided."""

    __tablename__ = "budget_request"

    id: int | None = Field(default=None, sa_column=Column(_ID, primary_key=True, autoincrement=True))
    budget_id: str = Field(foreign_key="budget.id")
    amount_g: float
    why: str
    asked_by: str
    asked_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(index=True)
    granted_g: float | None = None
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class CarbonPriceRow(SQLModel, table=True):
    __tablename__ = "carbon_price"

    id: str = Field(primary_key=True)
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class CleanSupplyRow(SQLModel, table=True):
    __tablename__ = "clean_supply"

    id: str = Field(primary_key=True)
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class ResidualMixRow(SQLModel, table=True):
    __tablename__ = "residual_mix"

    region: str = Field(primary_key=True)
    start: datetime = Field(sa_column=Column("start", UtcDateTime, primary_key=True))
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class TallyRow(SQLModel, table=True):
    """A job's counters: `up` less `down` is what is known; neither ever falls. `team`, `project`: as they are shown."""

    __tablename__ = "tally"

    job_id: str = Field(primary_key=True, foreign_key="job.id")
    region: str = Field(primary_key=True)
    quantity: str = Field(primary_key=True)
    team: str
    project: str
    up: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    down: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))


class LedgerRow(SQLModel, table=True):
    """Append only: triggers refuse changes, removals, and numbers that do not follow (docs/method.md)."""

    __tablename__ = "ledger"
    __table_args__ = (Index("ledger_by_debit", "debit", "job_id"), Index("ledger_by_credit", "credit", "job_id"))

    seq: int = Field(sa_column=Column(_ID, primary_key=True, autoincrement=False))
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    debit: str
    credit: str
    amount_ug: int = Field(sa_type=BigInteger)
    job_id: str | None = Field(default=None, index=True)
    energy_mj: int | None = Field(default=None, sa_type=BigInteger)
    memo: str = Field(sa_column=Column(Text, nullable=False))
    hash: str


class TokenRow(SQLModel, table=True):
    """Bearer tokens by their SHA-256; the secret itself is shown once and kept nowhere.

    `node` is the only node whose readings an agent's token may send; without one, those of any.
    """

    __tablename__ = "token"

    id: str = Field(primary_key=True)
    name: str
    role: str = Field(sa_column=Column(String, nullable=False))
    node: str | None = Field(default=None)
    sha256: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
