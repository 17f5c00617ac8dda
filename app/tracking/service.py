"""Writes jobs as event files of TensorBoard, and to MLflow tracking servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy.orm import Session

from app import events
from app.db.session import Database
from app.errors import ConflictError, ErrorItem, GraftworkError, UnavailableError, UnprocessableError
from app.jobs import service as jobs
from app.jobs.states import TERMINAL
from app.ml.spec import WarningCode, WarningItem
from app.settings import Settings
from app.tracking import event_file, repository
from app.tracking.mlflow_run import Written, write_run
from app.tracking.mlflow_server import (
    SECONDS,
    Credentials,
    RefusedServerError,
    TrackingError,
    TrackingServer,
)
from app.tracking.record import JobRecord, points_of, record_of
from app.tracking.schemas import MlflowRequest, MlflowRun
from app.webhooks import outbox
from app.webhooks.addresses import Policy

_HOLD_SECONDS = 2 * SECONDS


def event_file_of(database: Database, settings: Settings, project_id: str, job_id: str) -> tuple[str, Iterator[bytes]]:
    """Return the name of a job's event file, and its parts.

    Raises:
        NotFoundError: there is no such job.
    """
    with database.reading() as session:
        record = record_of(session, project_id, job_id, settings.public_url)
    time = record.job.created_at.timestamp()
    name = f"events.out.tfevents.{int(time)}.{job_id}"
    return name, _event_parts(database, project_id, record)


def _event_parts(database: Database, project_id: str, record: JobRecord) -> Iterator[bytes]:
    """Yield the file: parameters, curves, then results at the last step."""
    job = record.job
    begun = (job.started_at or job.created_at).timestamp()
    ended = None if job.finished_at is None else job.finished_at.timestamp()
    yield event_file.header(begun) + event_file.parameters(begun, record.parameters, record.tags, job.status, ended)
    step = -1
    while points := points_of(database, project_id, job.id, step):
        yield b"".join(event_file.scalars(point.time, point.step, point.values) for point in points)
        step = points[-1].step
    if record.results:
        results = {f"result/{name}": value for name, value in record.results.items()}
        yield event_file.scalars(ended or begun, max(step, 0), results)


def write_to_mlflow(
    database: Database, settings: Settings, project_id: str, job_id: str, request: MlflowRequest
) -> MlflowRun:
    """Write a job that has ended to the server that a request names, or else to the operator's.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, or is being written by another request.
        UnprocessableError: no server is named, or it is not sent to, or it refuses.
        UnavailableError: the server does not answer.
    """
    with database.reading() as session:
        jobs.find(session, project_id, job_id)
    if request.url is None and not settings.mlflow_url.get_secret_value():
        msg = "name an MLflow tracking server; or who runs the service sets GRAFTWORK_MLFLOW_URL"
        raise _refusal(msg, code="mlflow_not_named")
    experiment = request.experiment or settings.mlflow_experiment
    try:
        if request.url is None:
            return write_to_own_mlflow(database, settings, project_id, job_id, experiment)
        credentials = Credentials(request.token, request.username, request.password)
        with TrackingServer.named_by_request(request.url, credentials, Policy.of(settings)) as server:
            written = _write(database, settings, server, experiment, project_id, job_id)
            return _answer(job_id, request.url, written)
    except TrackingError as error:
        raise _problem(error) from None


def write_to_own_mlflow(
    database: Database, settings: Settings, project_id: str, job_id: str, experiment: str
) -> MlflowRun:
    """Write a job that has ended to the operator's server, and tell of it by an event or a warning of the job.

    Raises:
        TrackingError: the server does not answer, or refuses.
        NotFoundError, ConflictError: as of `write_to_mlflow`.
    """
    url, token = settings.mlflow_url.get_secret_value(), settings.mlflow_token
    try:
        with TrackingServer.trusted(url, Credentials(token)) as server:
            written = _write(database, settings, server, experiment, project_id, job_id)
    except TrackingError as error:
        database.transact(partial(_tell_of_refusal, job_id=job_id, error=error))
        raise
    scheme, _, rest = url.partition("://")
    answer = _answer(job_id, f"{scheme}://{rest.rpartition('@')[2]}", written)  # without user name and password
    database.transact(partial(_tell_of_run, answer=answer))
    return answer


def _write(
    database: Database, settings: Settings, server: TrackingServer, experiment: str, project_id: str, job_id: str
) -> Written:
    with database.reading() as session:
        record = record_of(session, project_id, job_id, settings.public_url)
    if record.job.status not in TERMINAL:
        msg = (
            f"This job is {record.job.status}: it is written once it has ended. Until then its curves are at "
            f"/v1/jobs/{job_id}/curves and in its event file, /v1/jobs/{job_id}/tensorboard."
        )
        raise ConflictError(msg, code="job_not_ended")
    with _held(database, job_id):
        return write_run(server, experiment, record, partial(points_of, database, project_id, job_id))


@contextmanager
def _held(database: Database, job_id: str) -> Iterator[None]:
    """Let nobody else write this job meanwhile, who would make a second run of it."""
    if not database.transact(lambda session: repository.hold(session, job_id, _HOLD_SECONDS)):
        msg = "Another request is writing this job to MLflow: repeat this one in a moment."
        raise ConflictError(msg, code="mlflow_in_progress")
    try:
        yield
    finally:
        database.transact(lambda session: repository.release(session, job_id))


def _answer(job_id: str, url: str, written: Written) -> MlflowRun:
    page = f"{url.rstrip('/')}/#/experiments/{written.experiment_id}/runs/{written.run_id}"
    return MlflowRun(
        job=job_id,
        experiment=written.experiment_id,
        run=written.run_id,
        url=page,
        created=written.created,
        metrics=written.metrics,
        parameters=written.parameters,
        warnings=written.warnings,
    )


def _tell_of_run(session: Session, answer: MlflowRun) -> None:
    repository.replace_warning(session, answer.job, WarningCode.NOT_TRACKED, None)
    data = answer.model_dump(mode="json", include={"experiment", "run", "url", "warnings"})
    events.append(session, answer.job, repository.WRITTEN, "Written to MLflow.", data)


def _tell_of_refusal(session: Session, job_id: str, error: TrackingError) -> None:
    """Warn of a job that is not in MLflow; one that was refused is not tried again by itself."""
    warning = WarningItem(
        code=WarningCode.NOT_TRACKED,
        message=f"the job is not in MLflow: {error}",
        remedy=f"POST /v1/jobs/{job_id}/mlflow writes it",
    )
    if repository.replace_warning(session, job_id, warning.code, warning):
        outbox.warned(session, job_id, [warning.model_dump(mode="json")])
    if not error.again:
        events.append(session, job_id, repository.REFUSED, f"MLflow refused the job: {error}.", level="warning")


def _problem(error: TrackingError) -> GraftworkError:
    if isinstance(error, RefusedServerError):
        return _refusal(str(error), code="address_refused")
    if error.again:
        return UnavailableError(f"MLflow: {error}.", code="mlflow_unavailable")
    return _refusal(f"MLflow refuses: {error}", code="mlflow_refused")


def _refusal(msg: str, *, code: str) -> UnprocessableError:
    return UnprocessableError(f"url: {msg}", code=code, errors=[ErrorItem(loc=["body", "url"], msg=msg)])
