"""Which files each project's rows name, and their totals, kept by triggers; indexes for searches for few rows."""

import sqlalchemy as sa
from alembic import op

from app.db import named_files

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "named_files",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("file", sa.String(300), primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        *(sa.Column(kind, sa.BigInteger, nullable=False, server_default="0") for kind in named_files.KINDS),
    )
    op.create_table(
        "storage_totals",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("slot", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    for table in ("datasets", "models"):
        op.create_index(f"ix_{table}_deleted", table, ["project_id", "deleted_at"])
    if op.get_bind().dialect.name == "postgresql":
        operators = {"metadata": "jsonb_path_ops"}
        op.create_index("ix_jobs_metadata", "jobs", ["metadata"], postgresql_using="gin", postgresql_ops=operators)
        op.create_index("ix_events_type", "events", ["type", "created_at"])
    named_files.install(op.get_bind())


def downgrade() -> None:
    named_files.remove(op.get_bind())
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_events_type", "events")
        op.drop_index("ix_jobs_metadata", "jobs")
    for table in ("datasets", "models"):
        op.drop_index(f"ix_{table}_deleted", table)
    op.drop_table("storage_totals")
    op.drop_table("named_files")
