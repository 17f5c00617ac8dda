"""The lease protocol: who may work on a job, and whose writes count.

A worker claims the best queued row of the project whose turn it is (`app.jobs.turns`) by compare-and-set, and gets a
lease and a fencing token. It renews the lease (`beat`); every write of the attempt names the token and changes nothing
once another attempt holds the job. Every API and worker process sweeps expired leases (`sweep`). Only the database's
clock counts.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    Update,
    bindparam,
    case,
    exists,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, aliased

from app import events
from app.db.session import db_now
from app.db.tables import JobRow, ProjectRow
from app.jobs import attempts, gangs, turns
from app.jobs.attempts import Ending, Lease
from app.jobs.states import DEVICES, LEASED, TERMINAL, Status, sources
from app.jobs.transitions import JobError, end_owned, record_end, record_owner_paused, record_paused

_NO_ORM = {"synchronize_session": False}
ONE_EACH = {"cpu": 1, "cuda": 1}
BACKOFF_SECONDS, _MAX_BACKOFF = 30.0, 600.0


class LeaseLostError(Exception):
    """Another attempt holds the job, or it has ended; nothing of this attempt may be written any more."""


class CancelledError(Exception):
    """The user wants the job cancelled; the holder of the lease closes it."""


class PausingError(Exception):
    """The user wants the job paused; nothing more of it is to be begun."""


def _holds(lease: Lease) -> ColumnElement[bool]:
    return (JobRow.id == lease.job_id) & (JobRow.token == lease.token) & JobRow.status.in_(LEASED)


def claim(
    session: Session, owner: str, seconds: float, devices: Mapping[str, int] = ONE_EACH, *, lane: str | None = None
) -> Lease | None:
    """Take the best queued job (of a lane, if one is given) that so many devices of these kinds can run, or None.

    It is one of the project whose turn it is, or one that has precedence since it has waited for very long. Counts the
    attempt at once, so that a poisonous job runs out of them. The worker leads the gang of a job of several nodes.
    """
    turns.wait_for_claims(session)
    statements = _claiming(tuple(devices.items()), lane)
    now, *oldest = session.execute(statements.clock).one()
    if (queued_at := min((each for each in oldest if each is not None), default=None)) is None:
        return None  # a worker without GPUs reads no queue of jobs for GPUs
    long_ago = turns.long_ago(session, now)
    passed: list[str] = []
    while (turn := turns.next_project(session, statements.turn, now, passed)) is not None:
        (project_id, urgency), early = turn, None
        if queued_at < long_ago:
            early = turns.first_by_precedence(session, statements.precedence, now, urgency, passed)
        if early is None:
            lease = _claim(session, statements.best, owner, now, seconds, project=project_id)
        else:
            project_id, names = early, {"urgent": urgency, "long_ago": long_ago}
            lease = _claim(session, statements.longest_waiting, owner, now, seconds, project=early, **names)
        if lease is not None:
            if lease.nodes > 1:
                gangs.open_seats(session, lease, owner, devices)
            turns.serve(session, project_id, lease.job_id if early else None)
            return lease
        passed.append(project_id)  # somebody is changing its jobs at this moment
    return None


def has_claimable(session: Session, devices: Mapping[str, int], lane: str) -> bool:
    """Whether `claim` would find a job of this lane.

    Every busy worker asks each second, mostly in vain: whose turn it is matters only where a job of the lane is queued.
    """
    if session.scalar(_queued_in(lane)) is None:
        return False
    now = session.execute(select(db_now())).scalar_one()
    return turns.next_project(session, _claiming(tuple(devices.items()), lane).turn, now) is not None


@lru_cache
def _queued_in(lane: str) -> Select[str]:
    """Return the statement that selects a project with a queued job of a lane."""
    queued = exists().where(JobRow.project_id == ProjectRow.id, JobRow.status == "queued", JobRow.lane == lane)
    return select(ProjectRow.id).where(queued).limit(1)


class _Claiming(NamedTuple):
    """The statements of a claim: the first three choose a project, the others claim its job."""

    clock: Select[*tuple[Any, ...]]
    turn: Select[str, int]
    precedence: Select[*tuple[Any, ...]]
    best: Update
    longest_waiting: Update


@lru_cache
def _claiming(devices: tuple[tuple[str, int], ...], lane: str | None) -> _Claiming:
    nodes = JobRow.nodes == 1 if lane == "short" else gangs.can_gather(dict(devices))
    claimable = turns.STARTABLE & turns.fits(dict(devices)) & (true() if lane is None else JobRow.lane == lane) & nodes
    own = claimable & (JobRow.project_id == bindparam("project"))
    waited = own & (JobRow.urgency == bindparam("urgent")) & turns.has_waited()
    return _Claiming(
        turns.clock(dict(devices)),
        turns.choice(claimable),
        turns.precedence(claimable),
        _claim_of(own, turns.FIRST),
        _claim_of(waited, turns.LONGEST_WAITING),
    )


def claim_sweep(session: Session, trial_id: str, seconds: float) -> Lease | None:
    """Take the sweep of a trial that has just ended, if it may go on and no turn of it has died before this one."""
    now = session.execute(select(db_now())).scalar_one()
    return _claim(session, _claim_of_sweep(), trial_id, now, seconds, trial=trial_id)


@lru_cache
def _claim_of_sweep() -> Update:
    trial = aliased(JobRow)
    sweep_id = select(trial.sweep_id).where(trial.id == bindparam("trial")).scalar_subquery()
    return _claim_of(turns.STARTABLE & (JobRow.id == sweep_id) & (JobRow.attempts == 0), turns.FIRST)


def _claim_of(which: ColumnElement[bool], order: tuple[Any, ...]) -> Update:
    """Return the statement that claims the first of these jobs, if it is still queued then."""
    best = select(JobRow.id).where(which).order_by(*order).limit(1).with_for_update(skip_locked=True)
    return (
        update(JobRow)
        .where(JobRow.id == best.scalar_subquery(), JobRow.status == "queued")
        .values(
            status="preparing",
            phase=None,
            token=JobRow.token + 1,
            attempts=JobRow.attempts + 1,
            owner=bindparam("by"),
            lease_until=turns.NOW + bindparam("seconds", type_=Double()),
            started_at=case((JobRow.wakes_at.is_not(None), JobRow.started_at), else_=turns.NOW),
            # The number of the event that the attempt started; a sweep's turns have none.
            last_seq=JobRow.last_seq + case((JobRow.wakes_at.is_(None), 1), else_=0),
        )
        .returning(
            JobRow.id,
            JobRow.token,
            JobRow.attempts,
            JobRow.nodes,
            JobRow.wakes_at,
            JobRow.traceparent,
            JobRow.last_seq,
        )
    )


def _claim(session: Session, best: Update, owner: str, now: float, seconds: float, **names: Any) -> Lease | None:
    session.flush()
    values = {"by": owner, "now": now, "seconds": seconds, **names}
    row = session.connection().execute(best, values).one_or_none()
    if row is None:
        return None
    lease = Lease(job_id=row.id, token=row.token, attempt=row.attempts, nodes=row.nodes, traceparent=row.traceparent)
    if row.wakes_at is None:  # a sweep's story is that of its trials, not of its turns between them
        data = {"attempt": row.token, "worker": owner}
        attempts.begin(session, lease, owner, now)
        events.write(session, row.id, row.last_seq, now, "attempt.started", f"Attempt {row.token} started.", data)
    return lease


def beat(session: Session, lease: Lease, seconds: float) -> str | None:
    """Renew the lease and return the job's status, or None where the lease is no longer ours."""
    renew = update(JobRow).where(_holds(lease)).values(lease_until=db_now() + seconds).returning(JobRow.status)
    return session.execute(renew.execution_options(**_NO_ORM)).scalar_one_or_none()


def activity(session: Session, lease: Lease) -> tuple[Any, ...] | None:
    """Return all in the job's row that its trainer changes while it works."""
    query = select(JobRow.status, JobRow.phase, JobRow.last_seq, JobRow.progress).where(_holds(lease))
    row = session.execute(query).one_or_none()
    return None if row is None else tuple(row)


def write(session: Session, lease: Lease, **values: Any) -> None:
    """Change fields of the job.

    Raises:
        CancelledError: the job is to be cancelled.
        LeaseLostError: the lease is not ours.
    """
    change = update(JobRow).where(_holds(lease)).values(**values).returning(JobRow.status)
    status = session.execute(change.execution_options(**_NO_ORM)).scalar_one_or_none()
    if status is None:
        raise LeaseLostError
    if status == "cancelling":
        raise CancelledError


def hold(session: Session, lease: Lease) -> None:
    """Make sure that the lease is ours until this transaction ends. Raises like `write`."""
    write(session, lease, token=JobRow.token)


def move(session: Session, lease: Lease, to: Status, **values: Any) -> None:
    """Change the job's state, if that is legal from where it is.

    Raises:
        CancelledError: the job is to be cancelled instead.
        PausingError: the job is to be paused instead.
        LeaseLostError: the lease is not ours.
    """
    change = (
        update(JobRow)
        .where(_holds(lease), JobRow.status.in_(sources(to)))
        .values(status=to, **values)
        .returning(JobRow.dataset_id)
    )
    row = session.execute(change.execution_options(**_NO_ORM)).one_or_none()
    if row is None:
        status = _held(session, lease)
        if status == to:
            return  # said before, and the answer was lost
        if status == "pausing":
            raise PausingError
        msg = f"no legal change from {status} to {to}"
        raise RuntimeError(msg)
    if to in TERMINAL and to != "succeeded":
        end_owned(session, lease.job_id, row.dataset_id, values.get("error"))
    if to == "finalizing" or to in TERMINAL:
        record_owner_paused(session, lease.job_id)


def _held(session: Session, lease: Lease) -> str:
    """Return the status of a job that is ours until this transaction ends. Raises like `write`."""
    hold(session, lease)
    return session.execute(select(JobRow.status).where(_holds(lease))).scalar_one()


def finish(
    session: Session,
    lease: Lease,
    to: Status,
    message: str,
    error: JobError | None = None,
    ending: Ending | None = None,
) -> None:
    """End the job and record it; `ending` is how its attempt ended, where that says more. Raises like `move`."""
    ended = {"finished_at": db_now(), "phase": None, "lease_until": None, "error": error and error.model_dump()}
    move(session, lease, to, **ended)
    attempts.end(session, lease, ending or to, message)
    record_end(session, lease.job_id, to, message, error)


def requeue(
    session: Session, lease: Lease, message: str, *, charged: bool, ending: Ending = "drained", after: float = 0.0
) -> None:
    """Give the job back to the queue, to start in `after` seconds, or pause it where that was asked for.

    An attempt that is not charged was no fault of the job. Raises like `move`.
    """
    start = None if after == 0 else db_now() + after
    to = _release(session, lease, attempts=JobRow.attempts if charged else JobRow.attempts - 1, not_before=start)
    paused = to == "paused" and not charged
    attempts.end(session, lease, "paused" if paused else ending, message, charged=charged)
    if to != "paused":
        data = {"charged": charged, "ending": ending}
        events.append(session, lease.job_id, "job.requeued", message, data, level="warning")


def _release(session: Session, lease: Lease, **values: Any) -> Status:
    """Let go of the job: queued again or, where that was asked for, paused.

    It waits anew, unless the attempt has done nothing of it.
    """
    to: Status = "paused" if _held(session, lease) == "pausing" else "queued"
    queued_at = case((JobRow.status == "preparing", JobRow.queued_at), else_=db_now())
    move(session, lease, to, **{"lease_until": None, "owner": None, "queued_at": queued_at, **values})
    if to == "paused":
        record_paused(session, lease.job_id)
        record_owner_paused(session, lease.job_id)
    return to


def park(session: Session, lease: Lease, wakes_at: int, **values: Any) -> None:
    """Let a sweep wait without a worker until at most so many of its trials are unfinished. Raises like `move`.

    The turn went well, so that the attempts that died before it are forgiven.
    """
    _release(session, lease, attempts=0, wakes_at=wakes_at, not_before=None, queued_at=db_now(), **values)
    attempts.end(session, lease, "parked", "It waits for its trials.", charged=False)


def prune(session: Session, lease: Lease, message: str, data: dict[str, Any]) -> None:
    """End a trial that others have left behind. Raises like `move`."""
    move(session, lease, "cancelling")
    events.append(session, lease.job_id, "trial.pruned", message, data)
    finish(session, lease, "cancelled", message)


def abandon(
    session: Session,
    lease: Lease,
    max_attempts: int,
    message: str,
    ending: Ending = "died",
    backoff: float = BACKOFF_SECONDS,
) -> None:
    """Take the job from an attempt that died: cancelled if asked for, else queued again or, at the limit, failed.

    The first death is made good at once; after each further one the job waits, twice as long each time.
    """
    status = session.scalar(select(JobRow.status).where(_holds(lease)))
    if status is None:
        return
    if status == "cancelling":
        finish(session, lease, "cancelled", "Cancelled.")
    elif lease.attempt >= max_attempts:
        death = _DEATHS.get(ending, _LOST)
        explanation = f"{message} This was attempt {lease.attempt} of {max_attempts}. {death.message}"
        finish(session, lease, "failed", explanation, death.model_copy(update={"message": explanation}), ending)
    else:
        wait = 0.0 if lease.attempt == 1 else min(backoff * 2 ** (lease.attempt - 2), _MAX_BACKOFF)
        explanation = f"{message} The job goes on from its last checkpoint."
        requeue(session, lease, explanation, charged=True, ending=ending, after=wait)


_LOST = JobError(
    code="worker_lost",
    category="platform",
    message="See the worker's log; too little memory is the usual cause. Then retry it.",
)
_DEATHS: dict[Ending, JobError] = {
    "stalled": JobError(
        code="stalled",
        category="platform",
        message="The last event attempt.stalled shows where it hung. Then retry it.",
    ),
    "out_of_memory": JobError(
        code="out_of_memory",
        category="platform",
        message="Give the worker more memory, or lower training.batch_size and submit it again.",
    ),
}


def sweep(session: Session, max_attempts: int, backoff: float = BACKOFF_SECONDS) -> int:
    """Take the jobs of silent workers from them; return how many there were."""
    now = session.execute(select(db_now())).scalar_one()
    expired = (
        select(JobRow.id, JobRow.token, JobRow.attempts)
        .where(JobRow.status.in_(LEASED), JobRow.lease_until < now)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(expired).all()
    for row in rows:
        lease = Lease(job_id=row.id, token=row.token, attempt=row.attempts)
        abandon(session, lease, max_attempts, "The worker fell silent.", "silent", backoff)
    return len(rows)


def waiting(session: Session, longer_than: float) -> bool:
    """Tell whether a job that may start has been queued for longer than so many seconds."""
    now = session.execute(select(db_now())).scalar_one()
    query = select(JobRow.id).where(_may_start(session), JobRow.queued_at < now - longer_than)
    return session.execute(query.limit(1), {"now": now}).first() is not None


def longest_waits(session: Session) -> dict[str, float]:
    """Return for how many seconds the oldest job that may start has been queued, by device; 0 where there is none."""
    now = session.execute(select(db_now())).scalar_one()
    may_start = _may_start(session)
    waits: dict[str, float] = {}
    for device in DEVICES:
        oldest = select(JobRow.queued_at).where(may_start, JobRow.device == device).order_by(JobRow.queued_at).limit(1)
        queued_at = session.scalar(oldest, {"now": now})
        waits[device] = 0.0 if queued_at is None else max(0.0, now - queued_at)
    return waits


def _may_start(session: Session) -> ColumnElement[bool]:
    """Startable, and of a project that may run one more job."""
    return turns.STARTABLE & JobRow.project_id.not_in(turns.full_projects(session))
