"""The tables. Times are seconds since the epoch; those of leases are read from the database's clock."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, Json, Name
from app.db.storage_tables import NamedFileRow, StorageTotalRow
from app.db.worker_tables import GangMemberRow, GangRow, WorkerRow

# Whoever works with the tables knows all of them from here.
__all__ = ["Base", "GangMemberRow", "GangRow", "Id", "Json", "Name", "NamedFileRow", "StorageTotalRow", "WorkerRow"]


class ProjectRow(Base):
    """A project, the owner of all other rows; nothing is visible across projects. Limits are null by default."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    created_at: Mapped[float]
    turn: Mapped[int] = mapped_column(default=0, server_default="0")  # number of the last claim of a job of it
    precedence_id: Mapped[str | None] = mapped_column(Id)  # the last job of it that came before turns for its waiting
    max_running_jobs: Mapped[int | None]
    job_seconds: Mapped[float | None]
    quota_bytes: Mapped[int | None]
    quota_rows: Mapped[int | None]


class ApiKeyRow(Base):
    """An API key; only its sha256 is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Name)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class DatasetRow(Base):
    """An uploaded dataset and the result of its preparation."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Name)
    status: Mapped[str] = mapped_column(String(20))
    filename: Mapped[str] = mapped_column(Name)
    options: Mapped[dict[str, Any]]
    source_sha256: Mapped[str] = mapped_column(String(64))
    source_bytes: Mapped[int]
    source: Mapped[dict[str, Any] | None]  # of one that is registered in place, whose stored source is a listing
    job_id: Mapped[str | None] = mapped_column(Id)
    spec: Mapped[dict[str, Any] | None]
    files: Mapped[dict[str, Any] | None]
    report: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]
    prepared_at: Mapped[float | None]
    deleted_at: Mapped[float | None]

    __table_args__ = (Index("ix_datasets_project", "project_id", "id"),)


class JobRow(Base):
    """A job: its request, its state and its lease. It is also the queue: workers claim rows that are queued."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(String(20))
    phase: Mapped[str | None] = mapped_column(String(50))
    priority: Mapped[int] = mapped_column(default=0)
    urgency: Mapped[int] = mapped_column(default=0, server_default="0")  # a priority across projects, set by an admin
    config: Mapped[dict[str, Any]]
    job_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    parent_model_id: Mapped[str | None] = mapped_column(Id)
    sweep_id: Mapped[str | None] = mapped_column(Id)  # of a trial: the job id of its sweep
    wakes_at: Mapped[int | None]  # of a waiting sweep: continues once at most this many of its trials are unfinished
    extends_id: Mapped[str | None] = mapped_column(Id)  # the ended job whose training this one continues
    device: Mapped[str] = mapped_column(String(10), default="auto", server_default="auto")
    devices: Mapped[int] = mapped_column(default=1, server_default="1")  # of each node
    nodes: Mapped[int] = mapped_column(default=1, server_default="1")  # workers that train it together
    lane: Mapped[str] = mapped_column(String(10), default="long", server_default="long")
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of the request that created it (W3C Trace Context)
    progress: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any] | None]
    files: Mapped[dict[str, Any] | None]  # {name: {sha256, bytes}} of files that it made other than a model's
    warnings: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    error: Mapped[dict[str, Any] | None]
    last_seq: Mapped[int] = mapped_column(default=0)

    token: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(Name)
    lease_until: Mapped[float | None]
    not_before: Mapped[float | None]
    tried_since: Mapped[float | None]  # time of the last retry: earlier attempts do not count

    created_at: Mapped[float]
    queued_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]

    __table_args__ = (
        Index("ix_jobs_project", "project_id", "id"),
        Index("ix_jobs_sweep", "sweep_id", "status"),
    )


class AttemptRow(Base):
    """One execution of a job, identified by its fencing token; `ending` is null while it runs."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker: Mapped[str] = mapped_column(Name)
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    ending: Mapped[str | None] = mapped_column(String(20))
    message: Mapped[str | None] = mapped_column(Text)
    charged: Mapped[bool] = mapped_column(default=True)


class TrialRow(Base):
    """One trial of a sweep: the values tried and the metric reached; the job that runs it has its own row."""

    __tablename__ = "trials"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int]
    values: Mapped[dict[str, Any]]  # {searched field: value}
    metric: Mapped[float | None]  # of the resulting weights, or at the rung where it was pruned
    rungs: Mapped[list[Any]]  # metrics at the rungs of successive halving that it reached
    pruned: Mapped[bool] = mapped_column(default=False)
    candidate: Mapped[dict[str, Any] | None]  # fields of its unregistered model, kept until the sweep has selected one

    __table_args__ = (UniqueConstraint("sweep_id", "number"),)


class EventRow(Base):
    """An event of a job, numbered without gaps."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_time", "created_at", "job_id", "seq"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[float]
    level: Mapped[str] = mapped_column(String(10))
    type: Mapped[str] = mapped_column(String(50))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]


class MetricRow(Base):
    """The metrics of a job at one step."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    created_at: Mapped[float]
    values: Mapped[dict[str, Any]]


class CheckpointRow(Base):
    """A stored checkpoint of a job; a job resumes from its newest intact one."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    token: Mapped[int]
    step: Mapped[int]
    epoch: Mapped[int]
    key: Mapped[str] = mapped_column(String(300))
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class ModelRow(Base):
    """An immutable registered model; `files` holds the digest and the size of each of its files."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Name)
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    job_id: Mapped[str | None] = mapped_column(Id)
    dataset_id: Mapped[str | None] = mapped_column(Id)
    parent_id: Mapped[str | None] = mapped_column(Id)
    manifest: Mapped[dict[str, Any]]
    files: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    warnings: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")  # of the job that made it
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]

    __table_args__ = (
        UniqueConstraint("project_id", "name", "version"),
        UniqueConstraint("job_id"),
        Index("models_deleted_at", "deleted_at"),
    )


class AliasRow(Base):
    """A movable name for one version of a model."""

    __tablename__ = "aliases"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    alias: Mapped[str] = mapped_column(Name, primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    revision: Mapped[int] = mapped_column(default=1, server_default="1")  # counts its changes
    traffic: Mapped[dict[str, Any] | None]  # versions with weights, and a shadow; null: model_id answers everything
    updated_at: Mapped[float]


class AliasChangeRow(Base):
    """One change of an alias: what it has meant since, null where it was deleted."""

    __tablename__ = "alias_changes"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    alias: Mapped[str] = mapped_column(Name, primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(String(20))
    model_id: Mapped[str | None] = mapped_column(Id)
    traffic: Mapped[dict[str, Any] | None]
    restores: Mapped[int | None]  # the revision that a rollback went back to
    changed_at: Mapped[float]


class ShadowReportRow(Base):
    """What comparing a model with its shadow under an alias has counted."""

    __tablename__ = "shadow_reports"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    alias: Mapped[str] = mapped_column(Name, primary_key=True)
    model_id: Mapped[str] = mapped_column(Id, primary_key=True)
    shadow_id: Mapped[str] = mapped_column(Id, primary_key=True)
    counts: Mapped[dict[str, Any]]
    updated_at: Mapped[float]


class LabelledRow(Base):
    """A row that a person has labelled in a labelling program, as an input of models of this name, and its label."""

    __tablename__ = "labelled_rows"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)  # of models
    source: Mapped[str] = mapped_column(Name, primary_key=True)  # the program's project
    task: Mapped[str] = mapped_column(Id, primary_key=True)
    annotation: Mapped[str] = mapped_column(Id)
    content: Mapped[dict[str, Any]]  # {input, label}
    is_learned: Mapped[bool]
    updated_at: Mapped[float]


class WebhookRow(Base):
    """A receiver of messages about a project; its secrets sign them."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None] = mapped_column(Name)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]  # types of events, or patterns such as job.*
    secret: Mapped[str] = mapped_column(String(100))
    old_secrets: Mapped[list[Any]]  # [{secret, until}] of rotated secrets, which sign, too, until then
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    disabled_at: Mapped[float | None]
    failing_since: Mapped[float | None]  # the first attempt that failed since the last one that was answered 2xx
    served_at: Mapped[float] = mapped_column(default=0.0)  # the last claim of a delivery of it
    created_at: Mapped[float]

    __table_args__ = (Index("ix_webhooks_project", "project_id", "id"),)


class WebhookDeliveryRow(Base):
    """One message to one webhook: pending, delivered or dead. Its id is the message's.

    It names its webhook by no foreign key: one that is deleted at the moment must not fail the transaction of a job.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Id)
    type: Mapped[str] = mapped_column(String(100))
    body: Mapped[str] = mapped_column(Text)  # what is signed and sent, the same at each attempt
    status: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)  # since it was queued
    token: Mapped[int] = mapped_column(default=0)  # counts its claims: the outcome of an earlier one is not written
    created_at: Mapped[float]
    queued_at: Mapped[float]  # when it was made, or last asked to be delivered again
    next_attempt_at: Mapped[float]
    lease_until: Mapped[float | None]  # until then the attempt under way is somebody's
    last_attempt_at: Mapped[float | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[float | None]

    __table_args__ = (
        Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
        Index("ix_webhook_deliveries_due", "status", "next_attempt_at"),
        Index("ix_webhook_deliveries_ended", "ended_at"),
    )


class IdempotencyRow(Base):
    """The response to a creating request with an Idempotency-Key, replayed when it is retried."""

    __tablename__ = "idempotency"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class HousekeepingRow(Base):
    """When a task that recurs was last begun, by whichever process; up to when it has worked, and what it counted."""

    __tablename__ = "housekeeping"

    task: Mapped[str] = mapped_column(Name, primary_key=True)
    begun_at: Mapped[float]
    reached: Mapped[float | None]
    counts: Mapped[dict[str, Any] | None]


class UploadRow(Base):
    """A file that arrives in parts, and once they are put together as one."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str] = mapped_column(Name)
    status: Mapped[str] = mapped_column(String(20))
    bytes: Mapped[int | None]  # of the whole file, as announced; of a complete one as it is
    sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[float]
    changed_at: Mapped[float]

    __table_args__ = (Index("ix_uploads_project", "project_id", "id"), Index("ix_uploads_changed", "changed_at"))


class UploadPartRow(Base):
    """A part of an upload that is open; it names its file."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int]
