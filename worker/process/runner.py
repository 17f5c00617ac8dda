"""One job's life inside the trainer: prepared, run, finalized, and ended in one of the ways that a job can end.

This is the runner's edge: whatever goes wrong below is recorded in the job's row here.
"""

import errno
import faulthandler
import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.artifacts import open_store
from app.datasets.errors import DatasetError
from app.db.session import Database
from app.errors import CorruptError, QuotaError, UnavailableError
from app.jobs import lease as leases
from app.jobs.attempts import Lease, folder_name
from app.jobs.gangs import Seat
from app.jobs.lease import CancelledError, LeaseLostError, PausingError
from app.jobs.transitions import JobError
from app.ml.errors import ConfigError, CorruptModelError, ExportError
from app.settings import Settings
from worker.attempt.attempt import Attempt
from worker.attempt.checkpoints import StorageFullError
from worker.attempt.context import JobContext
from worker.attempt.divergence import DivergedError
from worker.attempt.drain import OVERDUE, DrainedError, Draining
from worker.attempt.folder import attempt_folder, member_folder, stacks_file
from worker.attempt.gang import TooFewWorkersError
from worker.jobs import WORK
from worker.jobs.member import take_part
from worker.jobs.trial import PrunedError
from worker.process.device_loss import leaving_a_lost_device
from worker.training.micro_batches import DeviceMemoryError

log = logging.getLogger(__name__)


def run(lease: Lease, draining: Draining, settings: Settings | None = None) -> None:
    """Run the job of `lease` to its end, or give it back when `draining` is set."""
    settings = settings or Settings()
    database = Database(settings.sql_url, settings.project_limits)
    attempt = Attempt(database, open_store(settings), lease)
    folder = _fresh_folder(attempt_folder(settings, lease), lease)
    try:
        with _stacks_on_demand(folder):
            _run(attempt, folder, draining, settings)
        if not draining.is_set():
            _go_on_with_sweep(attempt, folder, draining, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        database.close()


def run_member(seat: Seat, settings: Settings | None = None) -> None:
    """Take part in the attempt of another worker, until its gang parts."""
    settings = settings or Settings()
    database = Database(settings.sql_url, settings.project_limits)
    # It only reads with this lease: an attempt's writes are its leader's.
    attempt = Attempt(database, open_store(settings), Lease(job_id=seat.job_id, token=seat.token, attempt=0))
    folder = member_folder(settings, seat)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with _stacks_on_demand(folder), leaving_a_lost_device():
            take_part(JobContext(attempt, attempt.job(), folder, Draining(), settings), seat)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        database.close()


@contextmanager
def _stacks_on_demand(folder: Path) -> Iterator[None]:
    """A signal makes the interpreter write all threads' stacks into a file, however the trainer hangs."""
    with stacks_file(folder).open("w") as file:
        faulthandler.register(signal.SIGUSR1, file=file)
        try:
            yield
        finally:
            faulthandler.unregister(signal.SIGUSR1)


def _go_on_with_sweep(attempt: Attempt, folder: Path, draining: Draining, settings: Settings) -> None:
    """Take the turn that a trial's end gives its sweep, here where all is imported: a trainer more costs seconds.

    The supervisor has no eye on it and may kill it as overdue; then the next turn gets a trainer of its own.
    """
    trial = attempt.lease.job_id
    lease = attempt.commit_with_retry(lambda session: leases.claim_sweep(session, trial, settings.lease_seconds))
    if lease is not None:
        _run(Attempt(attempt.database, attempt.artifacts, lease), folder, draining, settings)


def _fresh_folder(folder: Path, lease: Lease) -> Path:
    """Make an empty folder for this attempt; those that killed attempts at the same job left behind go.

    Not those of later ones, which hold the job by now if this attempt was frozen before it came here.
    """
    for token in range(1, lease.token + 1):
        shutil.rmtree(folder.with_name(folder_name(lease.job_id, token)), ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(attempt: Attempt, folder: Path, draining: Draining, settings: Settings) -> None:
    try:
        _run_to_its_end(attempt, folder, draining, settings)
    except LeaseLostError:
        log.warning("job %s: another attempt holds it; this one ends without a trace", attempt.lease.job_id)


def _run_to_its_end(attempt: Attempt, folder: Path, draining: Draining, settings: Settings) -> None:
    try:
        try:
            with leaving_a_lost_device():
                job = attempt.job()
                WORK[job.kind](JobContext(attempt, job, folder, draining, settings))
        except PrunedError:
            log.info("job %s: left behind by other trials", attempt.lease.job_id)
        except (DrainedError, PausingError):
            _let_go(attempt, draining)
        except TooFewWorkersError as error:
            attempt.give_back(str(error), "too_few_workers", after=error.wait)
        except UnavailableError as error:
            log.warning("job %s is given back: %s", attempt.lease.job_id, error)
            attempt.give_back("The artifact store did not answer; it is tried again.")
        except (CancelledError, LeaseLostError):
            raise
        except Exception as error:
            explained = _explain(error)
            user = explained.category == "user"
            log.log(logging.INFO if user else logging.ERROR, "job %s failed", attempt.lease.job_id, exc_info=not user)
            attempt.fail(explained)
    except CancelledError:
        attempt.cancelled()


def _let_go(attempt: Attempt, draining: Draining) -> None:
    if draining.is_set() and draining.reason == "time_limit":
        attempt.fail(OVERDUE, "time_limit")
    elif draining.is_set() and draining.reason == "preempted":
        attempt.give_back("A job of several nodes that goes before it takes its worker.")
    else:
        attempt.give_back("The worker is shutting down; another goes on.")


_FULL_STORAGE = JobError(
    code="storage_full",
    category="transient",
    message="There is no room for what the job has to keep. Free some, or ask who runs the service to; then retry it: "
    "it goes on from its last checkpoint.",
)


def _explain(error: Exception) -> JobError:
    """Say whose fault it is, and what to do."""
    match error:
        case DatasetError():
            explanation = JobError(code=str(error.code), category="user", message=error.message)
        case ConfigError():
            param = ".".join(str(part) for part in error.loc)
            explanation = JobError(code="config_does_not_fit", category="user", message=error.msg, param=param)
        case ExportError():
            explanation = JobError(code="cannot_export", category="user", message=str(error), param="format")
        case DivergedError():
            explanation = JobError(code="diverged", category="user", message=str(error), param="training.optimizer.lr")
        case DeviceMemoryError():
            explanation = JobError(
                code="device_memory", category="user", message=str(error), param="training.batch_size"
            )
        case CorruptError() | CorruptModelError():
            explanation = JobError(code="corrupt_artifact", category="platform", message=str(error))
        case QuotaError():
            explanation = JobError(code=error.code, category="user", message=error.detail)
        case StorageFullError() | OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            explanation = _FULL_STORAGE
        case _:
            fault = f"A fault of the service ({type(error).__name__})"
            message = f"{fault}; the worker's log has the details. Submit it again."
            explanation = JobError(code="internal_error", category="platform", message=message)
    return explanation
