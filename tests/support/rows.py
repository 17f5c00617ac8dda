"""Rows that tests write into the database themselves."""

from sqlalchemy.orm import Session

from app.db.tables import ProjectRow


def own_project(session: Session) -> ProjectRow:
    """The project that is there, or a new one."""
    project = session.query(ProjectRow).first()
    if project is None:
        project = ProjectRow(id="proj", name="default", created_at=0.0)
        session.add(project)
        session.flush()
    return project
