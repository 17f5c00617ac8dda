"""Indexes for the questions that people and workers ask of many rows; what recurring tasks have counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_TURN = ["project_id", "status", sa.text("urgency DESC"), sa.text("priority DESC"), "id"]
_INDEXES = (
    ("ix_models_project", "models", ["project_id", "id"]),
    ("ix_models_name", "models", ["project_id", "name", "id"]),
    ("ix_models_kind", "models", ["project_id", "kind", "id"]),
    ("ix_models_parent", "models", ["project_id", "parent_id", "id"]),
    ("ix_models_time", "models", ["created_at"]),
    ("ix_aliases_model", "aliases", ["model_id"]),
    ("ix_alias_changes_time", "alias_changes", ["changed_at"]),
    ("ix_datasets_name", "datasets", ["project_id", "name", "id"]),
    ("ix_attempts_ended", "attempts", ["ended_at"]),
    ("ix_jobs_place", "jobs", [*_TURN, "lane", "device", "devices", "nodes", "wakes_at", "not_before"]),
    ("ix_jobs_lane", "jobs", ["project_id", "status", "lane"]),
    ("ix_jobs_kind", "jobs", ["project_id", "kind", "id"]),
    ("ix_jobs_status", "jobs", ["project_id", "status", "id"]),
    ("ix_jobs_name", "jobs", ["project_id", "name", "id"]),
    ("ix_jobs_dataset", "jobs", ["dataset_id", "id"]),
    ("ix_jobs_parent", "jobs", ["parent_model_id", "id"]),
    ("ix_jobs_extends", "jobs", ["extends_id"]),
    ("ix_jobs_count", "jobs", ["status", "kind", "id"]),
    ("ix_jobs_waiting", "jobs", ["status", "device", "queued_at"]),
    ("ix_jobs_finished", "jobs", ["finished_at"]),
)


def upgrade() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)
    op.drop_index("ix_jobs_turn", "jobs")  # ix_jobs_place begins with its columns
    op.add_column("housekeeping", sa.Column("reached", sa.Double))
    op.add_column("housekeeping", sa.Column("counts", JSON))


def downgrade() -> None:
    op.drop_column("housekeeping", "counts")
    op.drop_column("housekeeping", "reached")
    op.create_index("ix_jobs_turn", "jobs", _TURN)
    for name, table, _ in _INDEXES:
        op.drop_index(name, table)
