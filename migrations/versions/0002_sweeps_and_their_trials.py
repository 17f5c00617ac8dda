"""Sweeps and their trials."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("sweep_id", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("wakes_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_jobs_sweep", "jobs", ["sweep_id", "status"])
    op.create_table(
        "trials",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("sweep_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("values", JSON, nullable=False),
        sa.Column("metric", sa.Double(), nullable=True),
        sa.Column("rungs", JSON, nullable=False),
        sa.Column("pruned", sa.Boolean(), nullable=False),
        sa.Column("candidate", JSON, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["sweep_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job_id"),
        sa.UniqueConstraint("sweep_id", "number"),
    )


def downgrade() -> None:
    op.drop_table("trials")
    op.drop_index("ix_jobs_sweep", "jobs")
    op.drop_column("jobs", "wakes_at")
    op.drop_column("jobs", "sweep_id")
