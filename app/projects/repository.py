"""SQL of projects and their limits."""

from collections.abc import Mapping
from dataclasses import asdict, fields

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.db.session import default_limits
from app.db.tables import JobRow, ProjectRow
from app.jobs.states import LEASED
from app.kit.pages import Page, fetch_page
from app.projects.limits import ProjectLimits

__all__ = ["ProjectRow"]  # services know the type of a row from here
_NAMES = tuple(field.name for field in fields(ProjectLimits) if field.name in ProjectRow.__table__.columns)


def limits_of(session: Session, project_id: str) -> ProjectLimits:
    """Return the limits of a project: its own, and the service's where it has none."""
    columns = [getattr(ProjectRow, name) for name in _NAMES]
    row = session.execute(select(*columns).where(ProjectRow.id == project_id)).one()
    own = {name: value for name, value in row._asdict().items() if value is not None}
    return ProjectLimits(**{**asdict(default_limits(session)), **own})


def find(session: Session, project: str) -> ProjectRow | None:
    """Return the project of this id, or else of this name."""
    named = select(ProjectRow).where(or_(ProjectRow.id == project, ProjectRow.name == project))
    return session.scalar(named.order_by((ProjectRow.id == project).desc()).limit(1))


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


def count_jobs(session: Session, project_id: str) -> tuple[int, int]:
    """Return how many jobs of a project run, and how many are queued; waiting sweeps are neither."""
    counted = select(
        func.count().filter(JobRow.status.in_(LEASED)),
        func.count().filter(JobRow.status == "queued", JobRow.wakes_at.is_(None)),
    )
    living = (JobRow.project_id == project_id) & JobRow.status.in_({*LEASED, "queued"})
    running, queued = session.execute(counted.where(living)).one()
    return running, queued
