"""the ledger is numbered without gaps, hash-chained, and guarded by triggers"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COMMON = ("at", "kind", "debit", "credit", "amount_ug", "job_id", "memo")

_SQLITE = (
    """CREATE TRIGGER ledger_keeps_entries BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append only'); END""",
    """CREATE TRIGGER ledger_loses_nothing BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append only'); END""",
    """CREATE TRIGGER ledger_has_no_gaps BEFORE INSERT ON ledger
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM ledger)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append only: an entry follows the last one'); END""",
)
_POSTGRES = (
    """CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the ledger is append only'; END $$""",
    """CREATE FUNCTION ledger_follows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM ledger) THEN
        RAISE EXCEPTION 'the ledger is append only: an entry follows the last one';
      END IF;
      RETURN NEW;
    END $$""",
    """CREATE TRIGGER ledger_keeps_entries BEFORE UPDATE OR DELETE ON ledger
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()""",
    """CREATE TRIGGER ledger_loses_nothing BEFORE TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()""",
    """CREATE TRIGGER ledger_has_no_gaps BEFORE INSERT ON ledger
    FOR EACH ROW EXECUTE FUNCTION ledger_follows()""",
)


def _postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _read() -> list[dict[str, Any]]:
    columns = [sa.column(name, sa.DateTime(timezone=True) if name == "at" else None) for name in _COMMON]
    number: sa.ColumnElement[int] = sa.column("id" if "id" in _names() else "seq")
    query = sa.select(*columns).select_from(sa.table("ledger")).order_by(number)
    return [dict(row._mapping) for row in op.get_bind().execute(query)]


def _names() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("ledger")}


def _chained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as entries of version 1 of the chain, which must never change: later versions are later migrations."""
    before, found = "0" * 64, []
    for seq, row in enumerate(rows, start=1):
        at: datetime = row["at"]
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        body = {**row, "at": at.isoformat(timespec="microseconds"), "energy_mj": None, "seq": seq}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        before = hashlib.sha256((before + text).encode()).hexdigest()
        found.append({**row, "at": at, "energy_mj": None, "seq": seq, "hash": before})
    return found


def upgrade() -> None:
    rows = _chained(_read())
    op.drop_table("ledger")
    table = op.create_table(
        "ledger",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("debit", sa.String(), nullable=False),
        sa.Column("credit", sa.String(), nullable=False),
        sa.Column("amount_ug", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("energy_mj", sa.BigInteger(), nullable=True),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ledger_job_id"), ["job_id"], unique=False)
        batch_op.create_index("ledger_by_credit", ["credit", "job_id"], unique=False)
        batch_op.create_index("ledger_by_debit", ["debit", "job_id"], unique=False)
    op.bulk_insert(table, rows)
    for statement in _POSTGRES if _postgres() else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    rows = _read()
    op.drop_table("ledger")
    if _postgres():
        op.execute("DROP FUNCTION ledger_is_append_only()")
        op.execute("DROP FUNCTION ledger_follows()")
    table = op.create_table(
        "ledger",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("debit", sa.String(), nullable=False),
        sa.Column("credit", sa.String(), nullable=False),
        sa.Column("amount_ug", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ledger_job_id"), ["job_id"], unique=False)
        batch_op.create_index("ledger_by_credit", ["credit"], unique=False)
        batch_op.create_index("ledger_by_debit", ["debit"], unique=False)
    op.bulk_insert(table, rows)
