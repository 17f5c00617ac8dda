"""What becomes of a job whose trainer died, or was killed, before it could end the job itself."""

from sqlalchemy.orm import Session

from app import events
from app.jobs import lease as leases
from app.jobs.attempts import Ending, Lease
from app.jobs.transitions import JobError
from app.settings import Settings
from worker.attempt.drain import OVERDUE
from worker.attempt.exit_codes import DEVICE_LOST, RANK_OUT_OF_MEMORY
from worker.process.heartbeat import TrainerExit

_DEVICE_MEMORY = JobError(
    code="device_memory",
    category="user",
    message="One of the devices has too little memory for its share of a step. Lower training.batch_size, ask for more "
    'devices, set resources.sharding to "shard" where it is not, or choose a smaller backbone.',
    param="training.batch_size",
)


def record_death(session: Session, lease: Lease, end: TrainerExit, settings: Settings, stacks: str) -> None:
    """Take the job from the dead attempt: queue it again, or fail it, by how the trainer ended.

    `stacks` is where a hanging trainer's threads were.

    Raises:
        CancelledError: the job is to be cancelled.
        LeaseLostError: another attempt holds the job, or it has ended.
    """
    if end.reason in ("shutdown", "pause", "preempted"):
        leases.requeue(session, lease, "Stopped before it could be saved.", charged=False)
    elif end.reason == "time_limit":
        leases.finish(session, lease, "failed", OVERDUE.message, OVERDUE, "time_limit")
    elif end.code == DEVICE_LOST:
        leases.requeue(session, lease, "The device was lost.", charged=False, ending="device_lost")
    elif end.code == RANK_OUT_OF_MEMORY:
        leases.finish(session, lease, "failed", _DEVICE_MEMORY.message, _DEVICE_MEMORY, "failed")
    else:
        if stacks:
            leases.hold(session, lease)
            message = "The trainer did nothing any more; this is where its threads were."
            events.append(session, lease.job_id, "attempt.stalled", message, {"stacks": stacks}, "warning")
        message, ending = _cause(end)
        leases.abandon(session, lease, settings.max_attempts, message, ending, settings.backoff_seconds)


def _cause(end: TrainerExit) -> tuple[str, Ending]:
    """Why the trainer died, in words, and as the attempt's ending."""
    if end.reason == "stalled":
        return "The trainer did nothing any more.", "stalled"
    if end.reason == "out_of_memory":
        return "The kernel killed the trainer for want of memory.", "out_of_memory"
    if end.reason == "member_lost":
        return "Another worker that trained it was lost.", "member_lost"
    if end.code is None:
        return "The trainer was stopped.", "stopped"
    return f"The trainer died (exit code {end.code}).", "died"
