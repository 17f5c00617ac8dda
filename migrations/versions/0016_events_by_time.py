"""The events of a project by the time at which they happened."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_events_time", "events", ["created_at", "job_id", "seq"])


def downgrade() -> None:
    op.drop_index("ix_events_time", "events")
