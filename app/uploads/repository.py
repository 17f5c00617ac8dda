"""SQL of uploads in parts. Times are the database's clock."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import UploadPartRow, UploadRow
from app.kit.ids import new_id
from app.kit.pages import Page, fetch_page

__all__ = ["UploadPartRow", "UploadRow"]  # services know the types of rows from here


def add(session: Session, project_id: str, **columns: Any) -> UploadRow:
    """Insert an upload without parts."""
    now = _now(session)
    row = UploadRow(id=new_id("upl"), project_id=project_id, status="open", created_at=now, changed_at=now, **columns)
    session.add(row)
    session.flush()
    return row


def count_open(session: Session, project_id: str) -> int:
    """Count the uploads of a project that are not complete."""
    of_project = (UploadRow.project_id == project_id) & (UploadRow.status == "open")
    return session.execute(select(func.count()).where(of_project)).scalar_one()


def find(session: Session, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow | None:
    """Return an upload of the project; with `lock` nobody else changes it until the transaction ends."""
    query = select(UploadRow).where(UploadRow.id == upload_id, UploadRow.project_id == project_id)
    return session.scalar(query.with_for_update() if lock else query)


def page(
    session: Session, project_id: str, limits: Page, status: str | None, sha256: str | None
) -> tuple[list[UploadRow], bool]:
    """Return one page of the project's uploads, and whether more follow."""
    query = select(UploadRow).where(UploadRow.project_id == project_id)
    if status is not None:
        query = query.where(UploadRow.status == status)
    if sha256 is not None:
        query = query.where(UploadRow.sha256 == sha256)
    return fetch_page(session, query, UploadRow.id, limits)


def parts(session: Session, upload_ids: Sequence[str]) -> list[UploadPartRow]:
    """Return the parts of uploads by number."""
    query = select(UploadPartRow).where(UploadPartRow.upload_id.in_(upload_ids))
    return list(session.scalars(query.order_by(UploadPartRow.upload_id, UploadPartRow.number)))


def put_part(session: Session, upload: UploadRow, number: int, sha256: str, size: int) -> UploadPartRow:
    """Insert a part, or replace the one of its number; the upload is locked."""
    part = session.get(UploadPartRow, (upload.id, number)) or UploadPartRow(upload_id=upload.id, number=number)
    part.sha256, part.bytes = sha256, size
    session.add(part)
    upload.changed_at = _now(session)
    session.flush()
    return part


def complete(session: Session, upload: UploadRow, sha256: str, size: int) -> None:
    """Let one file stand for the parts."""
    remove_parts(session, upload.id)
    upload.status, upload.sha256, upload.bytes, upload.changed_at = "complete", sha256, size, _now(session)
    session.flush()


def remove(session: Session, upload_id: str) -> None:
    """Delete an upload and its parts."""
    remove_parts(session, upload_id)
    session.execute(delete(UploadRow).where(UploadRow.id == upload_id))


def remove_parts(session: Session, upload_id: str) -> None:
    """Delete the parts of an upload."""
    session.execute(delete(UploadPartRow).where(UploadPartRow.upload_id == upload_id))


def _now(session: Session) -> float:
    return session.execute(select(db_now())).scalar_one()
