"""readings of an hour and of an ended job summed up"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_HOUR_US = 3_600_000_000


def upgrade() -> None:
    op.create_table(
        "energy_hour",
        sa.Column("stream_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("idle_mj", sa.BigInteger(), nullable=False),
        sa.Column("unattributed_mj", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "start", "region", "source"),
        sqlite_with_rowid=False,
    )
    hour = f'"start" - "start" % {_HOUR_US}'
    op.execute(  # our own names
        f'INSERT INTO energy_hour (stream_id, "start", region, source, energy_mj, idle_mj, unattributed_mj) SELECT'
        f" stream_id, {hour}, region, source, sum(energy_mj), sum(idle_mj), sum(unattributed_mj) FROM reading"
        f" GROUP BY stream_id, {hour}, region, source"
    )
    op.create_table(
        "job_course",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("job_id"),
    )


def downgrade() -> None:
    op.drop_table("job_course")
    op.drop_table("energy_hour")
