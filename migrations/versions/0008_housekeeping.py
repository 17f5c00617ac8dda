"""Housekeeping: when a task that recurs was last begun, so that one process does it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "housekeeping",
        sa.Column("task", sa.String(200), primary_key=True),
        sa.Column("begun_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("housekeeping")
