"""What becomes of a job whose trainer could not end it."""

from sqlalchemy.orm import Session

from app import events
from app.jobs import lease as leases
from app.jobs.attempts import Ending, Lease
from app.jobs.ending import JobError
from app.settings import Settings
from worker.process.drain import OVERDUE
from worker.process.exit_codes import DEVICE_LOST, RANK_OUT_OF_MEMORY
from worker.process.heartbeat import End

_SMALL = JobError(
    code="device_memory",
    category="user",
    message="One of the devices has too little memory for its share of a step. Lower training.batch_size, ask for more "
    "devices, or choose a smaller backbone.",
    param="training.batch_size",
)


def close(session: Session, lease: Lease, end: End, settings: Settings, stacks: str) -> None:
    """Take the job from the dead attempt, as its end demands; `stacks` is where a hanging trainer's threads were.

    Raises:
        CancelledError: it is to be cancelled.
        LeaseLostError: another attempt holds it, or it has ended.
    """
    if end.reason in ("shutdown", "pause"):
        leases.requeue(session, lease, "Stopped before it could be saved.", charged=False)
    elif end.reason == "time_limit":
        leases.finish(session, lease, "failed", OVERDUE.message, OVERDUE, "time_limit")
    elif end.code == DEVICE_LOST:
        leases.requeue(session, lease, "The device was lost.", charged=False, ending="device_lost")
    elif end.code == RANK_OUT_OF_MEMORY:
        leases.finish(session, lease, "failed", _SMALL.message, _SMALL, "failed")
    else:
        if stacks:
            _tell_stacks(session, lease, stacks)
        message, ending = _death(end)
        leases.abandon(session, lease, settings.max_attempts, message, ending, settings.backoff_seconds)


def _death(end: End) -> tuple[str, Ending]:
    if end.reason == "stalled":
        return "The trainer did nothing any more.", "stalled"
    if end.reason == "out_of_memory":
        return "The kernel killed the trainer for want of memory.", "out_of_memory"
    if end.code is None:
        return "The trainer was stopped.", "stopped"
    return f"The trainer died (exit code {end.code}).", "died"


def _tell_stacks(session: Session, lease: Lease, stacks: str) -> None:
    leases.hold(session, lease)
    message = "The trainer did nothing any more; this is where its threads were."
    events.append(session, lease.job_id, "attempt.stalled", message, {"stacks": stacks}, "warning")
