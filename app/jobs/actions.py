"""What users do with a job once it is there: cancel, pause, resume, retry, extend, delete it."""

from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.db.session import after_commit
from app.errors import ConflictError
from app.jobs import repository, transitions
from app.jobs.interface import CANNOT_EXTEND, ExtendRequest, JobColumns, JobKind
from app.jobs.kinds import KINDS
from app.jobs.queueing import check_room, enqueue
from app.jobs.repository import JobRow
from app.jobs.schemas import Job
from app.jobs.service import find, render
from app.jobs.states import TERMINAL
from app.models import repository as models
from app.models.refs import Ref
from app.queue import JobQueue


def cancel(session: Session, project_id: str, job_id: str) -> Job:
    """Cancel a job, or ask its worker to.

    Raises:
        ConflictError: it has ended otherwise.
    """
    row = find(session, project_id, job_id)
    if row.status != "cancelled" and transitions.cancel(session, job_id) is None:
        raise _refused(session, row, "cancelled")
    return _changed(session, row)


def pause(session: Session, project_id: str, job_id: str) -> Job:
    """Pause a job, or ask its worker to; a sweep pauses with its trials.

    Raises:
        ConflictError: it has ended, or is about to, or jobs of its kind cannot be paused.
    """
    row = find(session, project_id, job_id)
    if (refusal := KINDS[row.kind].cannot_pause) is not None:
        raise ConflictError(refusal, code="cannot_pause")
    if transitions.pause(session, job_id) is None:
        raise _refused(session, row, "paused")
    return _changed(session, row)


def resume(session: Session, queue: JobQueue, project_id: str, job_id: str) -> Job:
    """Queue a paused job again.

    Raises:
        ConflictError: it is not paused, or not yet.
    """
    row = find(session, project_id, job_id)
    if row.status == "pausing" or repository.has_pausing_child(session, job_id):
        msg = "The job is still pausing; ask again once it is paused."
        raise ConflictError(msg, code="job_is_pausing")
    if not transitions.resume(session, job_id):
        raise _refused(session, row, "resumed")
    after_commit(session, queue.ring)
    return _changed(session, row)


def retry(session: Session, queue: JobQueue, project_id: str, job_id: str, max_unfinished: int) -> Job:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint, its attempts forgiven.

    Raises:
        ConflictError: it has not ended so, or what it starts from has been deleted.
        TooManyError: too many jobs are unfinished.
    """
    row = find(session, project_id, job_id)
    owner = row if row.sweep_id is None else find(session, project_id, row.sweep_id)
    if (refusal := KINDS[owner.kind].cannot_retry) is not None:
        raise ConflictError(refusal, code="cannot_retry")
    check_room(session, project_id, max_unfinished)
    _check_sources(session, row)
    if not transitions.retry(session, job_id):
        raise _refused(session, row, "retried")
    after_commit(session, queue.ring)
    return _changed(session, row)


def extend(
    session: Session, queue: JobQueue, project_id: str, job_id: str, request: ExtendRequest, max_unfinished: int
) -> Job:
    """Queue a job that goes on training where a succeeded one ended; it makes the next version of its model.

    Raises:
        ConflictError: there is nothing to go on from.
        UnprocessableError: its training is counted in the other unit.
        TooManyError: too many jobs are unfinished.
    """
    row = _locked(session, project_id, job_id, share=True)
    kind = KINDS[row.kind]
    _check_extendable(session, row, kind)
    check_room(session, project_id, max_unfinished)
    _check_sources(session, row)
    columns = JobColumns(
        kind=row.kind,
        name=row.name,
        config=kind.extended(row.config, request),
        metadata=row.job_metadata,
        dataset_id=row.dataset_id,
        parent_model_id=row.parent_model_id,
        priority=row.priority,
        extends_id=row.id,
    )
    return render(session, enqueue(session, queue, project_id, columns))


def delete(session: Session, project_id: str, job_id: str) -> None:
    """Delete an ended job with its events, metrics, attempts, checkpoints and curves; a sweep goes with its trials.

    Models that it made stay, and keep its id in their lineage.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, is a trial of a sweep, or an unfinished job goes on where it ended.
    """
    row = _locked(session, project_id, job_id)
    if row.status not in TERMINAL:
        msg = f"The job is {row.status}: cancel it, or wait until it has ended, and delete it then."
        raise ConflictError(msg, code="job_not_ended")
    if row.sweep_id is not None:
        msg = f"The job is a trial of the sweep {row.sweep_id}, and is deleted with it."
        raise ConflictError(msg, code="trial_of_sweep")
    if (extension := repository.unfinished_extension(session, job_id)) is not None:
        msg = f"The job {extension} goes on from this job's checkpoints; wait for it or cancel it first."
        raise ConflictError(msg, code="in_use")
    repository.delete_jobs(session, [*repository.trials_of(session, job_id), job_id])


def _check_extendable(session: Session, row: JobRow, kind: type[JobKind]) -> None:
    refusal = kind.cannot_extend
    if refusal is None and (row.status != "succeeded" or row.sweep_id is not None):
        refusal = CANNOT_EXTEND
    if refusal is not None:
        raise ConflictError(refusal, code="cannot_extend")
    checkpoints = repository.checkpoints(session, row.id)
    if not checkpoints or kind.was_solved(checkpoints[0].manifest):
        removal = None if checkpoints else repository.removal_of_checkpoints(session, row.id)
        solved = (
            "Its heads were solved for at once, not trained by steps: fine-tune again with more labels, or with "
            '{"strategy": {"kind": "full"}}.'
        )
        msg = f"There is nothing to go on with. {removal or solved}"
        raise ConflictError(msg, code="cannot_extend")


def _check_sources(session: Session, row: JobRow) -> None:
    """Refuse where something that the job starts from has been deleted."""
    for dataset in (row.dataset_id, KINDS[row.kind].auxiliary_dataset_of(row.config)):
        if dataset is not None and datasets.find(session, row.project_id, dataset, keep=True) is None:
            msg = f"Its dataset {dataset} has been deleted."
            raise ConflictError(msg, code="dataset_deleted")
    if row.parent_model_id is not None and models.find(session, row.project_id, Ref(id=row.parent_model_id)) is None:
        msg = "The model that it starts from has been deleted."
        raise ConflictError(msg, code="model_deleted")


def _locked(session: Session, project_id: str, job_id: str, *, share: bool = False) -> JobRow:
    """Return a job as it is now and stays until the transaction ends. Raises NotFoundError where it was deleted."""
    return repository.lock(session, project_id, job_id, share=share) or find(session, project_id, job_id)


def _refused(session: Session, row: JobRow, action: str) -> ConflictError:
    row = _locked(session, row.project_id, row.id)
    if row.status in ("succeeded", "failed", "cancelled"):
        return ConflictError(f"The job has already {_ENDED[row.status]}.", code="job_has_ended")
    if row.status == "finalizing":
        return ConflictError("The job is about to end.", code="job_is_ending")
    return ConflictError(f"A job that is {row.status} cannot be {action}.", code="job_not_in_state")


_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}


def _changed(session: Session, row: JobRow) -> Job:
    session.refresh(row)
    return render(session, row)
