"""Rows that tests write into the database themselves."""

import time
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import JobRow, ProjectRow
from app.kit.ids import new_id


def own_project(session: Session) -> ProjectRow:
    """The project that is there, or a new one."""
    project = session.query(ProjectRow).first()
    if project is None:
        project = ProjectRow(id="proj", name="default", created_at=0.0)
        session.add(project)
        session.flush()
    return project


def queue_jobs(database: Database, project: str, count: int = 1, seconds_ago: float = 0.0, **fields: Any) -> list[str]:
    """Queue jobs of a project, which is made where there is none yet; return their ids."""
    queued_at = time.time() - seconds_ago
    values = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, **fields}
    values |= {"project_id": project, "created_at": queued_at, "queued_at": queued_at}
    ids = [new_id("job") for _ in range(count)]
    with database.writing() as session:
        if session.get(ProjectRow, project) is None:
            session.add(ProjectRow(id=project, name=project, created_at=0.0))
            session.flush()
        session.execute(insert(JobRow), [{"id": job, **values} for job in ids])
    return ids
