"""Quotas: how much disk and how many rows a project may keep, asked of the rows that name its files or are labelled.

Nothing is added up where a project has no quota. Files of deleted datasets and models stay until garbage collection
removes them; they count as far as they exceed the quota once more, so that what is deleted makes room at once and a
project's files never take more than twice its quota.
"""

from collections.abc import Iterable

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.errors import QuotaError
from app.projects.repository import limits_of, lock
from app.storage.repository import Reference, count_rows, labelled_rows, references

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
    if limits.quota_bytes:
        named = references(session, limits.grace_seconds, project_id)
        left_bytes = limits.quota_bytes - _counted(named, limits.quota_bytes) - labelled_rows(session, project_id)[1]
    if limits.quota_rows:
        left_rows = limits.quota_rows - count_rows(session, project_id)
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


def _counted(named: Iterable[Reference], quota: int) -> int:
    """Add up the bytes that count against a quota; a file that several rows name counts once."""
    kept: dict[str, int] = {}
    deleted: dict[str, int] = {}
    for reference in named:
        (deleted if reference.kind == "deleted" else kept)[reference.key] = reference.bytes
    stale = sum(size for key, size in deleted.items() if key not in kept)
    return sum(kept.values()) + max(0, stale - quota)
