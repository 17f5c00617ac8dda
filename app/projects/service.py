"""What administrators do: see the jobs of all projects, end or pause any of them, and limit what a project may use."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from app.errors import NotFoundError
from app.jobs import actions
from app.jobs import repository as jobs
from app.jobs import service as own_jobs
from app.jobs.repository import JobRow
from app.kit.pages import Listing, Page, listing
from app.projects import repository
from app.projects.limits import ProjectLimits
from app.projects.repository import ProjectRow
from app.projects.schemas import JobOfProject, Project, ProjectLimitsAnswer, ProjectRequest
from app.queue import JobQueue

_LIMITS = tuple(ProjectLimitsAnswer.model_fields)


def jobs_page(
    session: Session, page: Page, columns: Mapping[str, str | None], project: str | None
) -> Listing[JobOfProject]:
    """Return one page of the jobs of all projects, or of one, whose `columns` have these values, null for any.

    Raises:
        NotFoundError: there is no such project.
    """
    project_id = None if project is None else _find(session, project).id
    rows, more = jobs.page_of_all(session, page, {**columns, "project_id": project_id})
    return Listing[JobOfProject](**listing(_render(session, rows), has_more=more))


def job(session: Session, job_id: str) -> JobOfProject:
    """Return a job of any project. Raises NotFoundError where there is none."""
    return _render(session, [_job(session, job_id)])[0]


def cancel(session: Session, job_id: str) -> JobOfProject:
    """Cancel a job of any project. Raises like `actions.cancel`."""
    return _act(session, job_id, lambda row: actions.cancel(session, row.project_id, row.id))


def pause(session: Session, job_id: str) -> JobOfProject:
    """Pause a job of any project. Raises like `actions.pause`."""
    return _act(session, job_id, lambda row: actions.pause(session, row.project_id, row.id))


def resume(session: Session, queue: JobQueue, job_id: str) -> JobOfProject:
    """Queue a paused job of any project again. Raises like `actions.resume`."""
    return _act(session, job_id, lambda row: actions.resume(session, queue, row.project_id, row.id))


def set_urgency(session: Session, job_id: str, urgency: int) -> JobOfProject:
    """Change the place of a job, and of its trials, among the jobs of all projects."""
    return _act(session, job_id, lambda row: jobs.set_urgency(session, row.id, urgency))


def projects_page(session: Session, page: Page) -> Listing[Project]:
    """Return one page of all projects."""
    rows, more = repository.page(session, page)
    return Listing[Project](**listing(_render_projects(session, rows), has_more=more))


def limit(session: Session, request: ProjectRequest) -> Project:
    """Change limits of a project. Raises NotFoundError where there is none."""
    row = _find(session, request.project)
    repository.set_limits(session, row.id, request.model_dump(include=request.model_fields_set & set(_LIMITS)))
    session.refresh(row)
    return _render_projects(session, [row])[0]


def _find(session: Session, project: str) -> ProjectRow:
    row = repository.find(session, project)
    if row is None:
        msg = "There is no such project; GET /v1/admin/projects lists them."
        raise NotFoundError(msg, code="project_not_found")
    return row


def _job(session: Session, job_id: str) -> JobRow:
    row = jobs.find_any(session, job_id)
    if row is None:
        msg = "There is no such job."
        raise NotFoundError(msg, code="job_not_found")
    return row


def _act(session: Session, job_id: str, action: Callable[[JobRow], object]) -> JobOfProject:
    row = _job(session, job_id)
    action(row)
    session.refresh(row)
    return _render(session, [row])[0]


def _render(session: Session, rows: Sequence[JobRow]) -> list[JobOfProject]:
    names = repository.names(session, {row.project_id for row in rows})
    answers = []
    for row, shown in zip(rows, own_jobs.render_all(session, rows), strict=True):
        fields = {name: getattr(shown, name) for name in JobOfProject.model_fields if hasattr(shown, name)}
        answers.append(JobOfProject(**fields, project=names[row.project_id], urgency=row.urgency, worker=row.owner))
    return answers


def _render_projects(session: Session, rows: Sequence[ProjectRow]) -> list[Project]:
    counts = repository.count_jobs(session, [row.id for row in rows])
    return [_render_project(row, repository.with_defaults(session, row), *counts[row.id]) for row in rows]


def _render_project(row: ProjectRow, limits: ProjectLimits, running: int, queued: int) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        limits=ProjectLimitsAnswer(**{name: getattr(limits, name) for name in _LIMITS}),
        own_limits=[name for name in _LIMITS if getattr(row, name) is not None],
        running_jobs=running,
        queued_jobs=queued,
    )
