"""Quotas: how much disk and how many rows a project may keep, by the totals that triggers keep (`app.db.named_files`).

Files of deleted datasets and models stay until garbage collection
removes them; they count as far as they exceed the quota once more, so that what is deleted makes room at once and a
project's files never take more than twice its quota.
"""

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.errors import QuotaError
from app.projects.repository import limits_of, lock
from app.storage.repository import deleted_files, totals

_REMEDY = (
    "Delete datasets, models, ended jobs or labelled tasks (GET /v1/storage adds up what takes the space), or ask who "
    "runs the service for a larger quota."
)


class Quota(BaseModel):
    """What a project may keep, and how much of it is left; null: there is no quota."""

    bytes: int | None = Field(description="Maximum disk space of the project's files and labelled rows.")
    left_bytes: int | None
    rows: int | None = Field(description="Maximum number of rows of its datasets, and labelled ones.")
    left_rows: int | None


def quota_of(session: Session, project_id: str) -> Quota:
    """Return the quota of a project, and what is left of it: below 0 where it is exceeded."""
    limits = limits_of(session, project_id)
    left_bytes = left_rows = None
    kept = totals(session, project_id) if limits.quota_bytes or limits.quota_rows else {}
    if limits.quota_bytes:
        deleted = deleted_files(session, limits.grace_seconds, project_id, besides_kept=True).bytes
        counted = kept["kept"].bytes + max(0, deleted - limits.quota_bytes)
        left_bytes = limits.quota_bytes - counted - kept["labelled_rows"].bytes
    if limits.quota_rows:
        left_rows = limits.quota_rows - kept["rows"].count - kept["labelled_rows"].count
    return Quota(
        bytes=limits.quota_bytes or None, left_bytes=left_bytes, rows=limits.quota_rows or None, left_rows=left_rows
    )


def refuse_full(session: Session, project_id: str) -> Quota:
    """Return the quota of a project that may keep more. Raises QuotaError where nothing is left of it."""
    quota = quota_of(session, project_id)
    for name, left, maximum in (
        ("bytes of disk", quota.left_bytes, quota.bytes),
        ("rows", quota.left_rows, quota.rows),
    ):
        if left is not None and left <= 0:
            msg = f"The project has used up its quota of {maximum} {name}. {_REMEDY}"
            raise QuotaError(msg)
    return quota


def refuse_exceeded(session: Session, project_id: str) -> None:
    """Refuse what this transaction has added where it exceeds the quota. Raises QuotaError."""
    limits = limits_of(session, project_id)
    if not (limits.quota_bytes or limits.quota_rows):
        return
    lock(session, project_id)  # of two transactions that add at once the later one sees the other
    quota = quota_of(session, project_id)
    for name, left, maximum in (
        ("bytes of disk", quota.left_bytes, quota.bytes),
        ("rows", quota.left_rows, quota.rows),
    ):
        if left is not None and left < 0:
            msg = f"This is {-left} {name} more than is left of the project's quota of {maximum}. {_REMEDY}"
            raise QuotaError(msg)


def too_large_for(left: int) -> QuotaError:
    """Return the error for an upload larger than what is left."""
    return QuotaError(f"The upload is larger than the {left} bytes that are left of the project's quota. {_REMEDY}")
