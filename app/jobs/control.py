"""What users do with a job once it is there: cancel, pause, resume, retry, extend it."""

from typing import Any

from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.db.session import after_commit
from app.db.tables import JobRow
from app.errors import ConflictError, ErrorItem, UnprocessableError
from app.jobs import ending, plan, repository, wishes
from app.jobs.schemas import ExtendRequest, Job
from app.jobs.service import answer, check_room, enqueue, find
from app.models import repository as models
from app.models.refs import Ref
from app.queue import JobQueue

_TRAINED = ("pretraining", "fine_tuning")


def cancel(session: Session, project_id: str, job_id: str) -> Job:
    """Cancel a job, or ask its worker to.

    Raises:
        ConflictError: it has ended otherwise.
    """
    row = find(session, project_id, job_id)
    if row.status != "cancelled" and ending.cancel(session, job_id) is None:
        raise _refused(session, row, "cancelled")
    return _now(session, row)


def pause(session: Session, project_id: str, job_id: str) -> Job:
    """Pause a job, or ask its worker to; a sweep pauses with its trials.

    Raises:
        ConflictError: it has ended, or is about to.
    """
    row = find(session, project_id, job_id)
    if wishes.pause(session, job_id) is None:
        raise _refused(session, row, "paused")
    return _now(session, row)


def resume(session: Session, queue: JobQueue, project_id: str, job_id: str) -> Job:
    """Queue a paused job again.

    Raises:
        ConflictError: it is not paused, or not yet.
    """
    row = find(session, project_id, job_id)
    if row.status == "pausing" or wishes.pausing_trials(session, job_id):
        msg = "The job is still pausing; ask again once it is paused."
        raise ConflictError(msg, code="job_is_pausing")
    if not wishes.resume(session, job_id):
        raise _refused(session, row, "resumed")
    after_commit(session, queue.ring)
    return _now(session, row)


def retry(session: Session, queue: JobQueue, project_id: str, job_id: str, most_unfinished: int) -> Job:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint, its attempts forgiven.

    Raises:
        ConflictError: it has not ended so, or what it needs is gone.
        TooManyError: too many jobs are unfinished.
    """
    row = find(session, project_id, job_id)
    if row.kind == "sweep" or row.sweep_id is not None:
        msg = "What a sweep has tried is gone with its end: submit the sweep again."
        raise ConflictError(msg, code="cannot_retry")
    check_room(session, project_id, most_unfinished)
    _check_sources(session, row)
    if not wishes.retry(session, job_id):
        raise _refused(session, row, "retried")
    after_commit(session, queue.ring)
    return _now(session, row)


def extend(
    session: Session, queue: JobQueue, project_id: str, job_id: str, request: ExtendRequest, most_unfinished: int
) -> Job:
    """Queue a job that goes on training where a succeeded one ended; it makes the next version of its model.

    Raises:
        ConflictError: there is nothing to go on from.
        UnprocessableError: its training is counted in the other unit.
        TooManyError: too many jobs are unfinished.
    """
    row = find(session, project_id, job_id)
    _check_extendable(session, row)
    check_room(session, project_id, most_unfinished)
    _check_sources(session, row)
    fields = {
        "kind": row.kind,
        "name": row.name,
        "config": _longer(row, request),
        "job_metadata": row.job_metadata,
        "dataset_id": row.dataset_id,
        "parent_model_id": row.parent_model_id,
        "priority": row.priority,
        "extends_id": row.id,
    }
    return answer(session, enqueue(session, queue, project_id=project_id, **fields))


def _check_extendable(session: Session, row: JobRow) -> None:
    if row.kind not in _TRAINED or row.status != "succeeded" or row.sweep_id is not None:
        msg = "Only a pretraining or a fine-tuning that has succeeded, and is no trial of a sweep, can go on."
        raise ConflictError(msg, code="cannot_extend")
    if not repository.checkpoints(session, row.id):
        msg = "The job has no checkpoint to go on from: its heads were solved for, not trained by steps."
        raise ConflictError(msg, code="cannot_extend")


def _longer(row: JobRow, request: ExtendRequest) -> dict[str, Any]:
    """The config with more epochs or steps, and without the decision about them."""
    training = row.config["training"]
    counted = "steps" if training["steps"] is not None else "epochs"
    more = getattr(request, counted)
    if more is None:
        msg = f"this training is counted in {counted}: say how many further ones"
        raise UnprocessableError(msg, code="invalid_request", errors=[ErrorItem(loc=["body", counted], msg=msg)])
    field = f"training.{counted}"
    decisions = [one for one in row.config["decisions"] if one["field"] != field]
    config = {**row.config, "training": {**training, counted: training[counted] + more}, "decisions": decisions}
    plan.learning_config(row.kind, config)
    return config


def _check_sources(session: Session, row: JobRow) -> None:
    """What the job starts from is still there."""
    for dataset in (row.dataset_id, _beside(row)):
        if dataset is not None and datasets.find(session, row.project_id, dataset, keep=True) is None:
            msg = f"Its dataset {dataset} has been deleted."
            raise ConflictError(msg, code="dataset_deleted")
    if row.parent_model_id is not None and models.find(session, row.project_id, Ref(id=row.parent_model_id)) is None:
        msg = "The model that it starts from has been deleted."
        raise ConflictError(msg, code="model_deleted")


def _beside(row: JobRow) -> str | None:
    """The other dataset that its config names."""
    named = plan.learning_config(row.kind, row.config).auxiliary_dataset if row.kind in _TRAINED else None
    return named and named[1]


def _refused(session: Session, row: JobRow, done: str) -> ConflictError:
    session.refresh(row)
    if row.status in ("succeeded", "failed", "cancelled"):
        return ConflictError(f"The job has already {_ENDED[row.status]}.", code="job_has_ended")
    if row.status == "finalizing":
        return ConflictError("The job is about to end.", code="job_is_ending")
    return ConflictError(f"A job that is {row.status} cannot be {done}.", code="job_not_in_state")


_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}


def _now(session: Session, row: JobRow) -> Job:
    session.refresh(row)
    return answer(session, row)
