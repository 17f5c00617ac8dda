"""Indexes by which many rows are listed, claimed and counted; those that keep rows apart stand with their tables.

Each serves one question: what it begins with is compared, and what it ends with is the order of the answer.
"""

from sqlalchemy import Index

from app.db.tables import AliasChangeRow, AliasRow, AttemptRow, DatasetRow, EventRow, JobRow, ModelRow

Index("ix_datasets_name", DatasetRow.project_id, DatasetRow.name, DatasetRow.id)
Index("ix_datasets_deleted", DatasetRow.project_id, DatasetRow.deleted_at)

Index("ix_models_project", ModelRow.project_id, ModelRow.id)
Index("ix_models_name", ModelRow.project_id, ModelRow.name, ModelRow.id)
Index("ix_models_kind", ModelRow.project_id, ModelRow.kind, ModelRow.id)
Index("ix_models_deleted", ModelRow.project_id, ModelRow.deleted_at)
Index("ix_models_parent", ModelRow.project_id, ModelRow.parent_id, ModelRow.id)
Index("ix_models_time", ModelRow.created_at)
Index("ix_aliases_model", AliasRow.model_id)
Index("ix_alias_changes_time", AliasChangeRow.changed_at)

# The two orders in which a project's jobs are claimed, and all that decides whether a worker may claim one: that of
# turns, and that of those that have waited for very long.
_MAY_BE_CLAIMED = (JobRow.lane, JobRow.device, JobRow.devices, JobRow.nodes, JobRow.wakes_at, JobRow.not_before)
_BY_TURNS = (JobRow.urgency.desc(), JobRow.priority.desc(), JobRow.id)
_BY_WAITING = (JobRow.urgency, JobRow.queued_at, JobRow.id)
Index("ix_jobs_place", JobRow.project_id, JobRow.status, *_BY_TURNS, *_MAY_BE_CLAIMED)
Index("ix_jobs_age", JobRow.project_id, JobRow.status, *_BY_WAITING, *_MAY_BE_CLAIMED)
Index("ix_jobs_lane", JobRow.project_id, JobRow.status, JobRow.lane)
Index("ix_jobs_kind", JobRow.project_id, JobRow.kind, JobRow.id)
Index("ix_jobs_status", JobRow.project_id, JobRow.status, JobRow.id)
Index("ix_jobs_name", JobRow.project_id, JobRow.name, JobRow.id)
Index("ix_jobs_dataset", JobRow.dataset_id, JobRow.id)
Index("ix_jobs_parent", JobRow.parent_model_id, JobRow.id)
Index("ix_jobs_extends", JobRow.extends_id)
Index("ix_jobs_count", JobRow.status, JobRow.kind, JobRow.id)
Index("ix_jobs_waiting", JobRow.status, JobRow.device, JobRow.queued_at)
Index("ix_jobs_finished", JobRow.finished_at)
Index("ix_attempts_ended", AttemptRow.ended_at)

# Searches for what few rows have, on PostgreSQL alone: SQLite has no index of that kind, or not its statistics.
POSTGRESQL_ALONE = (
    Index(
        "ix_jobs_metadata",
        JobRow.job_metadata,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    ).ddl_if(dialect="postgresql"),
    Index("ix_events_type", EventRow.type, EventRow.created_at).ddl_if(dialect="postgresql"),
)
