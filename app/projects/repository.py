"""SQL of projects and their limits."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.session import default_limits
from app.db.tables import JobRow, ProjectRow
from app.jobs.states import LEASED
from app.kit.pages import Page, fetch_page
from app.projects.limits import ProjectLimits

__all__ = ["ProjectRow"]  # services know the type of a row from here
MAX_COUNTED = 1000  # queued jobs of a project that are counted
_NAMES = tuple(field.name for field in fields(ProjectLimits) if field.name in ProjectRow.__table__.columns)


def limits_of(session: Session, project_id: str) -> ProjectLimits:
    """Return the limits of a project: its own, and the service's where it has none."""
    columns = [getattr(ProjectRow, name) for name in _NAMES]
    return with_defaults(session, session.execute(select(*columns).where(ProjectRow.id == project_id)).one())


def with_defaults(session: Session, row: ProjectRow | Row[tuple[Any, ...]]) -> ProjectLimits:
    """Return the limits that a project's row names, and the service's where it names none."""
    own = {name: getattr(row, name) for name in _NAMES if getattr(row, name) is not None}
    return ProjectLimits(**{**asdict(default_limits(session)), **own})


def find(session: Session, project: str) -> ProjectRow | None:
    """Return the project of this id, or else of this name."""
    named = select(ProjectRow).where(or_(ProjectRow.id == project, ProjectRow.name == project))
    return session.scalar(named.order_by((ProjectRow.id == project).desc()).limit(1))


def names(session: Session, ids: Collection[str]) -> dict[str, str]:
    """Return the names of projects by their ids."""
    rows = session.execute(select(ProjectRow.id, ProjectRow.name).where(ProjectRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


def lock(session: Session, project_id: str) -> None:
    """Wait until no other transaction adds to what the project uses, and keep others from it until this one ends."""
    query = select(ProjectRow.id).where(ProjectRow.id == project_id)
    session.execute(query.with_for_update(key_share=True))


def page(session: Session, limits: Page) -> tuple[list[ProjectRow], bool]:
    """Return one page of all projects, and whether more follow."""
    return fetch_page(session, select(ProjectRow), ProjectRow.id, limits)


def set_limits(session: Session, project_id: str, values: Mapping[str, float | None]) -> None:
    """Change limits of a project; null is the service's default."""
    session.execute(update(ProjectRow).where(ProjectRow.id == project_id).values(**values))


def count_jobs(session: Session, ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return how many jobs of each project run, and how many are queued, at most MAX_COUNTED.

    Waiting sweeps are neither.
    """
    own = JobRow.project_id == ProjectRow.id
    running = select(func.count()).where(own, JobRow.status.in_(LEASED)).scalar_subquery()
    queue = select(JobRow.id).where(own, JobRow.status == "queued", JobRow.wakes_at.is_(None)).limit(MAX_COUNTED)
    queued = select(func.count()).select_from(queue.correlate(ProjectRow).subquery())
    counts = running, queued.correlate(ProjectRow).scalar_subquery()
    rows = session.execute(select(ProjectRow.id, *counts).where(ProjectRow.id.in_(ids)))
    return {project: (runs, waits) for project, runs, waits in rows}
