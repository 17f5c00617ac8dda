"""Warnings of jobs and models."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    for table in ("jobs", "models"):
        op.add_column(table, sa.Column("warnings", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    for table in ("jobs", "models"):
        op.drop_column(table, "warnings")
