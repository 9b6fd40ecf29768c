"""readings and shares under the number of their stream, times as microseconds, a job's shares together"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = ("stream", "reading", "energy_share")
_READING = "region, node, source, device_uuid, energy_mj, idle_mj, unattributed_mj, quality, method, uncertainty_pct"
_SHARE = "run_id, job_id, region, energy_mj, uncertainty_pct, estimated"
_STREAM = "agent_id, stream_epoch, stored_through, last_seen_at"


def _postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _microseconds(name: str) -> str:
    if _postgres():
        return f'CAST(extract(epoch FROM "{name}") * 1000000 AS bigint)'
    seconds = f"CAST(strftime('%s', substr(\"{name}\", 1, 19)) AS integer)"
    return f'{seconds} * 1000000 + CAST(substr("{name}", 21, 6) AS integer)'


def _moment(name: str) -> str:
    if _postgres():
        return f"timestamptz 'epoch' + \"{name}\" * interval '1 microsecond'"
    return f"strftime('%Y-%m-%d %H:%M:%S', \"{name}\" / 1000000, 'unixepoch') || printf('.%06d', \"{name}\" % 1000000)"


def _put_away() -> None:
    op.drop_index("ix_reading_start", "reading")
    for name in _TABLES:
        op.rename_table(name, f"old_{name}")
        if _postgres():
            op.execute(f"ALTER INDEX {name}_pkey RENAME TO old_{name}_pkey")


def _throw_away() -> None:
    op.create_index("ix_reading_start", "reading", ["start"])
    for name in _TABLES:
        op.drop_table(f"old_{name}")


def upgrade() -> None:
    op.drop_index("energy_share_by_job", "energy_share")
    _put_away()
    op.create_table(
        "stream",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("stream_epoch", sa.String(), nullable=False),
        sa.Column("stored_through", sa.BigInteger(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("agent_id", "stream_epoch"),
    )
    op.create_table(
        "reading",
        sa.Column("stream_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("idle_mj", sa.BigInteger(), nullable=False),
        sa.Column("unattributed_mj", sa.BigInteger(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("uncertainty_pct", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "energy_share",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("uncertainty_pct", sa.Float(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "start", "stream_id", "seq", "run_id"),
        sqlite_with_rowid=False,
    )
    highest = (
        "(SELECT max(seq) FROM old_reading AS r WHERE r.agent_id = s.agent_id AND r.stream_epoch = s.stream_epoch)"
    )
    op.execute(f"INSERT INTO stream ({_STREAM}, highest) SELECT {_STREAM}, coalesce({highest}, 0) FROM old_stream AS s")
    times = f"{_microseconds('start')}, {_microseconds('end')}"
    # Digests are made in another way from now on: those of before say nothing of a record that comes again.
    for table, columns, digest in (
        ("reading", f"digest, {_READING}", f"'', {_READING}"),
        ("energy_share", _SHARE, _SHARE),
    ):
        op.execute(  # our own names
            f'INSERT INTO {table} (stream_id, seq, "start", "end", {columns}) SELECT stream.id, seq, {times}, {digest}'
            f" FROM old_{table} JOIN stream USING (agent_id, stream_epoch)"
        )
    _throw_away()


def downgrade() -> None:
    _put_away()
    op.create_table(
        "stream",
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("stream_epoch", sa.String(), nullable=False),
        sa.Column("stored_through", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "stream_epoch"),
    )
    op.create_table(
        "reading",
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("stream_epoch", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("idle_mj", sa.BigInteger(), nullable=False),
        sa.Column("unattributed_mj", sa.BigInteger(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("uncertainty_pct", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "stream_epoch", "seq"),
    )
    op.create_table(
        "energy_share",
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("stream_epoch", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("uncertainty_pct", sa.Float(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "stream_epoch", "seq", "run_id"),
    )
    op.create_index("energy_share_by_job", "energy_share", ["job_id", "start"])
    op.execute(f"INSERT INTO stream ({_STREAM}) SELECT {_STREAM} FROM old_stream")
    times = f"{_moment('start')}, {_moment('end')}"
    for table, columns in (("reading", f"digest, {_READING}"), ("energy_share", _SHARE)):
        op.execute(  # our own names
            f'INSERT INTO {table} (agent_id, stream_epoch, seq, "start", "end", {columns}) SELECT agent_id,'
            f" stream_epoch, seq, {times}, {columns} FROM old_{table} JOIN old_stream ON old_stream.id = stream_id"
        )
    _throw_away()
