"""Fair turns between projects, and the limits of each; a null limit is the default."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LIMITS = {
    "max_running_jobs": sa.BigInteger(),
    "job_seconds": sa.Double(),
    "quota_bytes": sa.BigInteger(),
    "quota_rows": sa.BigInteger(),
}


def upgrade() -> None:
    op.add_column("projects", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0"))
    for name, kind in _LIMITS.items():
        op.add_column("projects", sa.Column(name, kind, nullable=True))
    op.add_column("jobs", sa.Column("urgency", sa.BigInteger(), nullable=False, server_default="0"))
    columns = ["project_id", "status", sa.text("urgency DESC"), sa.text("priority DESC"), "id"]
    op.create_index("ix_jobs_turn", "jobs", columns)


def downgrade() -> None:
    op.drop_index("ix_jobs_turn", "jobs")
    op.drop_column("jobs", "urgency")
    for name in reversed(_LIMITS):
        op.drop_column("projects", name)
    op.drop_column("projects", "turn")
