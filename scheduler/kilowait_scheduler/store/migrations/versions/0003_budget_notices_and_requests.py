"""thresholds that budgets passed, and requests for more"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budget_notice",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("threshold_pct", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "threshold_pct"),
    )
    op.create_table(
        "budget_request",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("amount_g", sa.Float(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("granted_g", sa.Float(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["budget_id"], ["budget.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("budget_request", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_budget_request_state"), ["state"], unique=False)


def downgrade() -> None:
    op.drop_table("budget_request")
    op.drop_table("budget_notice")
