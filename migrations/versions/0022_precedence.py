"""Jobs that have waited for very long come before turns."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_ORDER = ["project_id", "status", "urgency", "queued_at", "id"]


def upgrade() -> None:
    op.create_index("ix_jobs_age", "jobs", [*_ORDER, "lane", "device", "devices", "nodes", "wakes_at", "not_before"])
    op.drop_index("ix_jobs_queue", "jobs")  # no statement needs the order of all projects' jobs
    op.add_column("projects", sa.Column("precedence_id", sa.String(64)))


def downgrade() -> None:
    op.drop_column("projects", "precedence_id")
    op.create_index("ix_jobs_queue", "jobs", ["status", sa.text("priority DESC"), "id"])
    op.drop_index("ix_jobs_age", "jobs")
