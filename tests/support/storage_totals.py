"""What every project keeps, added up row by row: what the totals that triggers keep must say."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import DatasetRow, LabelledRow, NamedFileRow, ProjectRow, StorageTotalRow
from app.storage.repository import Reference, references, totals
from app.storage.service import project_usage, sizes_by_kind, usage

GRACE = 3600.0


def counted(session: Session, project: str) -> dict[str, Any]:
    """What the totals say."""
    kept = totals(session, project)
    return {
        "usage": project_usage(session, project, GRACE).model_dump(),
        "kept": kept["kept"].bytes,
        "rows": kept["rows"].count,
        "files": session.execute(
            select(func.count()).select_from(NamedFileRow).where(NamedFileRow.project_id == project)
        ).scalar_one(),
    }


def added_up(session: Session, project: str) -> dict[str, Any]:
    """What the rows say."""
    sizes = func.octet_length(cast(LabelledRow.content, Text))
    labelled = select(func.count(), func.coalesce(func.sum(sizes), 0)).where(LabelledRow.project_id == project)
    count, size = session.execute(labelled).one()
    named = list(references(session, GRACE, project))
    kept = _files(each for each in named if each.kind != "deleted")
    specs = select(DatasetRow.spec).where(
        DatasetRow.project_id == project, DatasetRow.deleted_at.is_(None), DatasetRow.spec.is_not(None)
    )
    return {
        "usage": usage(sizes_by_kind(named), (count, int(size))).model_dump(),
        "kept": sum(kept.values()),
        "rows": sum(sum((spec.get("rows") or {}).values()) for spec in session.scalars(specs) if spec),
        "files": len(kept),
    }


def _files(named: Iterable[Reference]) -> dict[str, int]:
    return {reference.key: reference.bytes for reference in named}


def check_totals(database: Database) -> None:
    """Compare both for every project, at one moment."""
    isolation = {"isolation_level": "SERIALIZABLE" if database.url.startswith("sqlite") else "REPEATABLE READ"}
    with database.reading() as session:
        session.connection(execution_options=isolation)
        projects = {*session.scalars(select(ProjectRow.id)), *session.scalars(select(StorageTotalRow.project_id))}
        for project in projects:
            assert counted(session, project) == added_up(session, project), project
