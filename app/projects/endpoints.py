"""/v1/admin: the jobs of all projects and the limits of each, for keys with the scope admin."""

from typing import Annotated, Any

from fastapi import Query

from app.dependencies import Reading, State
from app.errors import Problem
from app.jobs.kinds import Kind
from app.jobs.states import Status
from app.kit.pages import Listing, PageQuery
from app.projects import service
from app.projects.schemas import JobOfProject, Project, ProjectRequest, UrgencyRequest
from app.security import CanAdminister, secure_router

router = secure_router("/v1/admin", "admin")

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_CONFLICT: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 409: {"model": Problem}}


@router.get("/jobs", responses=_NOT_FOUND)
def list_all_jobs(
    session: Reading,
    _: CanAdminister,
    page: PageQuery,
    kind: Kind | None = None,
    status: Status | None = None,
    project: Annotated[str | None, Query(max_length=200, description="Id or name of a project.")] = None,
) -> Listing[JobOfProject]:
    """List the jobs of all projects, newest first: whose each is and how it stands, and nothing of what it is about."""
    return service.jobs_page(session, page, {"kind": kind, "status": status}, project)


@router.get("/jobs/{job_id}", responses=_NOT_FOUND)
def get_any_job(job_id: str, session: Reading, _: CanAdminister) -> JobOfProject:
    """Return one job of any project."""
    return service.job(session, job_id)


@router.patch("/jobs/{job_id}", responses=_NOT_FOUND)
def set_job_urgency(job_id: str, body: UrgencyRequest, state: State, _: CanAdminister) -> JobOfProject:
    """Start a job, and its trials, before or after the jobs of all other projects."""
    return state.database.transact(lambda session: service.set_urgency(session, job_id, body.urgency))


@router.post("/jobs/{job_id}/cancel", status_code=202, responses=_CONFLICT)
def cancel_any_job(job_id: str, state: State, _: CanAdminister) -> JobOfProject:
    """Cancel a job of any project."""
    return state.database.transact(lambda session: service.cancel(session, job_id))


@router.post("/jobs/{job_id}/pause", status_code=202, responses=_CONFLICT)
def pause_any_job(job_id: str, state: State, _: CanAdminister) -> JobOfProject:
    """Pause a job of any project; it writes a checkpoint and frees its worker."""
    return state.database.transact(lambda session: service.pause(session, job_id))


@router.post("/jobs/{job_id}/resume", status_code=202, responses=_CONFLICT)
def resume_any_job(job_id: str, state: State, _: CanAdminister) -> JobOfProject:
    """Queue a paused job of any project again."""
    return state.database.transact(lambda session: service.resume(session, state.queue, job_id))


@router.get("/projects")
def list_projects(session: Reading, _: CanAdminister, page: PageQuery) -> Listing[Project]:
    """List all projects with the limits that hold for each."""
    return service.projects_page(session, page)


@router.patch("/projects", responses=_NOT_FOUND)
def limit_project(body: ProjectRequest, state: State, _: CanAdminister) -> Project:
    """Change what a project may use: running jobs, time, disk and rows."""
    return state.database.transact(lambda session: service.limit(session, body))
