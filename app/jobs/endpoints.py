"""/v1/jobs."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Query, Request, Response

from app.artifacts import fetch_blob
from app.dependencies import Reading, State
from app.errors import Problem
from app.events import ProjectEvents
from app.idempotency.service import IdempotencyKey
from app.jobs import actions, curves, files, service
from app.jobs.curve_rendering import MEDIA, render_curve
from app.jobs.curves import CurveList
from app.jobs.filters import JobFilterQuery
from app.jobs.interface import ExtendRequest
from app.jobs.kinds import JobRequest, Kind
from app.jobs.schemas import (
    AttemptList,
    CheckpointList,
    EventList,
    Job,
    JobFileList,
    JobSummary,
    MetricList,
    ProjectEventList,
)
from app.jobs.stream import Streams
from app.jobs.submission import submit_once
from app.kit import sse
from app.kit.downloads import Download, checked_file
from app.kit.pages import Listing, PageQuery, ViewQuery
from app.ml.evaluation.curve import Curve, CurveKind
from app.security import CanRead, CanWrite, secure_router

router = secure_router("/v1/jobs", "jobs")
events_router = secure_router("/v1/events", "jobs")

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_CONFLICT: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 409: {"model": Problem}}


@router.post("", status_code=202, responses={**_CONFLICT, 429: {"model": Problem}})
def create_job(body: JobRequest, state: State, principal: CanWrite, key: IdempotencyKey, response: Response) -> Job:
    """Queue a job of any kind but preparation, which uploads queue. A 202 means that the job will reach an end."""
    project, limit = principal.project_id, state.settings.max_queued_jobs
    submit = partial(service.submit, queue=state.queue, project_id=project, resolve=body.resolve, max_unfinished=limit)
    return submit_once(state.database, principal, key, "POST /v1/jobs", body, response, submit)


@router.get("", responses=_NOT_FOUND)
def list_jobs(
    session: Reading, principal: CanRead, page: PageQuery, filters: JobFilterQuery, view: ViewQuery = "summary"
) -> Listing[Job] | Listing[JobSummary]:
    """List jobs, newest first, without their configs and metrics unless `view=full`."""
    return service.list_page(session, principal.project_id, page, view, filters)


@router.get("/{job_id}", responses=_NOT_FOUND)
def get_job(job_id: str, session: Reading, principal: CanRead) -> Job:
    """Return one job."""
    return service.get(session, principal.project_id, job_id)


@router.delete("/{job_id}", status_code=204, responses=_CONFLICT)
def delete_job(job_id: str, state: State, principal: CanWrite) -> None:
    """Delete an ended job with its events, metrics, checkpoints and curves; the models that it made stay."""
    state.database.transact(lambda session: actions.delete(session, principal.project_id, job_id))


@router.post("/{job_id}/cancel", status_code=202, responses=_CONFLICT)
def cancel_job(job_id: str, state: State, principal: CanWrite) -> Job:
    """Cancel a job; a running one stops within seconds, and nothing of it is published any more."""
    return state.database.transact(lambda session: actions.cancel(session, principal.project_id, job_id))


@router.post("/{job_id}/pause", status_code=202, responses=_CONFLICT)
def pause_job(job_id: str, state: State, principal: CanWrite) -> Job:
    """Pause a job: it writes a checkpoint and frees its worker within seconds."""
    return state.database.transact(lambda session: actions.pause(session, principal.project_id, job_id))


@router.post("/{job_id}/resume", status_code=202, responses=_CONFLICT)
def resume_job(job_id: str, state: State, principal: CanWrite) -> Job:
    """Queue a paused job again; it goes on exactly where it stopped."""
    return state.database.transact(lambda session: actions.resume(session, state.queue, principal.project_id, job_id))


@router.post("/{job_id}/retry", status_code=202, responses={**_CONFLICT, 429: {"model": Problem}})
def retry_job(job_id: str, state: State, principal: CanWrite) -> Job:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
    limit = state.settings.max_queued_jobs
    return state.database.transact(
        lambda session: actions.retry(session, state.queue, principal.project_id, job_id, limit)
    )


@router.post("/{job_id}/extend", status_code=202, responses={**_CONFLICT, 429: {"model": Problem}})
def extend_job(
    job_id: str,
    body: ExtendRequest,
    state: State,
    principal: CanWrite,
    key: IdempotencyKey,
    response: Response,
) -> Job:
    """Queue a new job that goes on training where a succeeded one ended; it makes the next version of its model."""
    project, limit = principal.project_id, state.settings.max_queued_jobs
    submit = partial(
        actions.extend, queue=state.queue, project_id=project, job_id=job_id, request=body, max_unfinished=limit
    )
    return submit_once(state.database, principal, key, f"POST /v1/jobs/{job_id}/extend", body, response, submit)


@router.get("/{job_id}/attempts", responses=_NOT_FOUND)
def list_job_attempts(job_id: str, session: Reading, principal: CanRead) -> AttemptList:
    """List a job's attempts, and how each ended."""
    return AttemptList(data=service.attempts_of(session, principal.project_id, job_id))


@router.get("/{job_id}/metrics", responses=_NOT_FOUND)
def get_job_metrics(
    job_id: str,
    session: Reading,
    principal: CanRead,
    after: Annotated[int, Query(ge=-1, lt=2**63, description="Only steps above this one.")] = -1,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> MetricList:
    """List what was measured, by step."""
    return service.metrics(session, principal.project_id, job_id, after, limit)


@router.get("/{job_id}/checkpoints", responses=_NOT_FOUND)
def get_job_checkpoints(job_id: str, session: Reading, principal: CanRead) -> CheckpointList:
    """List the checkpoints that are kept, newest first."""
    return CheckpointList(data=service.checkpoints(session, principal.project_id, job_id))


_PICTURE: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    200: {"content": {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA.values()}},
}
_INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # whatever a picture holds, nothing of it runs


@router.get("/{job_id}/curves", responses=_NOT_FOUND)
def list_job_curves(job_id: str, state: State, principal: CanRead) -> CurveList:
    """List a job's curves: of its learning, and once it has measured its heads, of those."""
    return curves.index(state, principal.project_id, job_id)


@router.get("/{job_id}/curves/{kind}", responses=_PICTURE, response_model=Curve)
def get_job_curve(
    job_id: str,
    kind: CurveKind,
    state: State,
    principal: CanRead,
    head: Annotated[str | None, Query(max_length=255, description="Needed where several heads have one.")] = None,
    form: Annotated[Literal["json", "png", "svg"], Query(alias="format")] = "json",
) -> Curve | Response:
    """Return one curve, as numbers or as a picture."""
    curve = curves.get(state, principal.project_id, job_id, kind, head)
    if form == "json":
        return curve
    headers = {"Content-Disposition": f'attachment; filename="{kind}.{form}"', "Content-Security-Policy": _INERT}
    return Response(render_curve(curve, form), media_type=MEDIA[form], headers=headers)


_FILE: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The ranges of bytes that were asked for."},
    304: {"description": "The file is the one that If-None-Match names."},
    416: {"model": Problem, "description": "The file has no byte in the range that was asked for."},
}


@router.get("/{job_id}/files", responses=_NOT_FOUND)
def list_job_files(job_id: str, state: State, principal: CanRead) -> JobFileList:
    """List the files of a job, such as the results of a batch prediction."""
    return files.index(state, principal.project_id, job_id)


@router.get("/{job_id}/files/{name}", responses=_FILE, response_class=Download)
def get_job_file(
    job_id: str, name: Annotated[str, Path(max_length=100)], request: Request, state: State, principal: CanRead
) -> Response:
    """Download a file of a job, or ranges of it, after its bytes were checked against their digest."""
    sha256 = files.sha256_of(state, principal.project_id, job_id, name)
    return checked_file(request, sha256, name, lambda: fetch_blob(state.artifacts, sha256))


_STREAM: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    200: {"content": {"text/event-stream": {}}},
    429: {"model": Problem, "description": "Too many event streams are open."},
}


def _streams(request: Request) -> Streams:
    """Return what yields events; from now on the request counts as a stream."""
    request.state.slot.become_stream()
    streams: Streams = request.app.state.streams
    return streams


def _follow(request: Request, state: State) -> Callable[[str, int], Response]:
    """Return a function that answers with the stream of a job's events above a number."""

    def follow(job_id: str, after: int) -> Response:
        lines = _streams(request).lines(job_id, after, request.state.principal, state.settings.stream_seconds)
        return sse.event_stream(lines)

    return follow


@router.get("/{job_id}/events", responses=_STREAM, response_model=EventList)
def get_job_events(
    job_id: str,
    state: State,
    principal: CanRead,
    follow: Annotated[Callable[[str, int], Response], Depends(_follow)],
    after: Annotated[int, Query(ge=0, lt=2**63, description="Only events above this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(description="text/event-stream follows the job until it ends.")] = "",
    last_event_id: Annotated[int | None, Header(ge=0, lt=2**63, description="Where a broken stream goes on.")] = None,
) -> EventList | Response:
    """List a job's events or, asked for text/event-stream, follow them; both give the same rows."""
    project = principal.project_id
    with state.database.reading() as session:
        page = service.events_after(session, project, job_id, after, limit)
    if not sse.is_asked_for(accept):
        return page
    return follow(job_id, after if last_event_id is None else last_event_id)


_PROJECT_STREAM = {status: response for status, response in _STREAM.items() if status != 404}  # noqa: PLR2004 - a status
EVENT_ID = r"^\d{1,12}(\.\d{1,9})?~[a-z0-9_]{0,64}~\d{1,9}$"


def _project_events(
    after: Annotated[
        str | None, Query(max_length=100, pattern=EVENT_ID, description="Only events after the one of this id.")
    ] = None,
    kind: Annotated[Kind | None, Query(description="Only of jobs of this kind.")] = None,
    event_type: Annotated[str | None, Query(alias="type", max_length=50, description="Only of this type.")] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=100, pattern=EVENT_ID, description="Where a broken stream goes on.")
    ] = None,
) -> ProjectEvents:
    """Return which events the query and the headers ask for."""
    last = last_event_id or after
    moment, job, seq = last.split("~") if last else ("", "", "")
    return ProjectEvents((float(moment), job, int(seq)) if last else None, kind, event_type)


def _follow_project(request: Request, state: State) -> Callable[[ProjectEvents], Response]:
    """Return a function that answers with a stream of a project's events."""

    def follow(selection: ProjectEvents) -> Response:
        lines = _streams(request).project_lines(selection, request.state.principal, state.settings.stream_seconds)
        return sse.event_stream(lines)

    return follow


@events_router.get("", responses=_PROJECT_STREAM, response_model=ProjectEventList)
def list_events(
    state: State,
    principal: CanRead,
    selection: Annotated[ProjectEvents, Depends(_project_events)],
    follow: Annotated[Callable[[ProjectEvents], Response], Depends(_follow_project)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(description="text/event-stream follows all jobs, from now or an id on.")] = "",
) -> ProjectEventList | Response:
    """List the events of all jobs by time or, asked for text/event-stream, follow them; one may come twice there."""
    if sse.is_asked_for(accept):
        return follow(selection)
    with state.database.reading() as session:
        return service.project_events(session, principal.project_id, selection, limit)
