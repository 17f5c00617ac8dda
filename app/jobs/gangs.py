"""Gangs: the workers of several machines that train one job together.

The worker that claims a job of several nodes leads its gang and is node 0. It opens a seat for each other node, and
idle workers take them before any job. Once all are taken the training begins; where they are not in time, the leader
gives the job back and lets all go: all nodes begin, or none. A job that has a checkpoint goes on with those that came.
At any time only one gang gathers, so that no two wait for each other's workers. A job that has precedence for its
waiting keeps its workers until all are there.

A member renews the lease of its seat as the leader renews the job's. A seat that runs out, or is left, ends the
attempt of all; the job's own lease and token decide whether there is a gang at all.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import Boolean, ColumnElement, and_, delete, exists, func, insert, literal_column, or_, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import CheckpointRow, GangMemberRow, GangRow, JobRow, WorkerRow
from app.jobs import attempts, turns, workers
from app.jobs.attempts import Lease
from app.jobs.states import LEASED

_NO_ORM = {"synchronize_session": False}
_MAX_PATIENCE = 3600.0
KINDS = ("cuda", "cpu")  # of devices; the first is preferred


class PartedError(Exception):
    """There is no gang any more that a seat belongs to."""


class Seat(BaseModel):
    """The right to take part as a node in the attempt that another worker leads."""

    job_id: str
    token: int
    node: int
    traceparent: str | None = None


class Meeting(BaseModel):
    """Where the ranks of a gang meet for a round of the training."""

    round: int
    address: str  # host:port
    place: int  # of this node among those that began, from 0
    size: int  # nodes
    device: str  # the kind that all ranks compute on


class State(BaseModel):
    """Whether a gang can go on: one that has parted is whole, and one is leaving where a member's worker shuts down."""

    state: Literal["whole", "gathering", "leaving", "broken"]
    exit_code: int | None = None  # of a trainer that gave up


# The job of a gang is still under the lease that the gang belongs to; without an index a job is found by its key.
_IS_LED = and_(JobRow.id == GangRow.job_id, JobRow.token == GangRow.token, JobRow.status.in_(LEASED))
_GATHERING = select(GangRow.job_id).join(JobRow, _IS_LED).where(GangRow.size.is_(None))


def can_gather(devices: Mapping[str, int]) -> ColumnElement[bool]:
    """Whether a worker with these devices could gather a gang: no other gathers, and enough workers live.

    All are to compute on one kind of device. After a checkpoint any number of workers will do. Jobs of one node need
    no gang.
    """
    has_checkpoint = exists().where(CheckpointRow.job_id == JobRow.id).correlate(JobRow)
    has_workers = or_(*((JobRow.devices <= count) & _has_workers(kind) for kind, count in devices.items()))
    return or_(JobRow.nodes == 1, and_(~_GATHERING.exists(), or_(has_workers, has_checkpoint)))


def _has_workers(kind: str) -> ColumnElement[bool]:
    """Whether as many workers live that can run a job on a kind of device as it has nodes."""
    capable = select(func.count()).where(workers.lives(), _can_run(kind)).correlate(JobRow).scalar_subquery()
    return capable >= JobRow.nodes


def _can_run(kind: str) -> ColumnElement[bool]:
    """Whether a worker's row names enough devices for a job's: such as `cuda:4` among ` cpu:2 cuda:4 `.

    It is SQL as text: as expressions it is most of each claim's statements, and their building most of a claim's time.
    """
    words = "' ' || workers.devices || ' '"
    rules = [f"jobs.devices <= {count} AND {words} LIKE '% {kind}:{count} %'" for count in range(1, 10)]
    has_enough = " OR ".join([*rules, f"{words} LIKE '% {kind}:__ %'"])
    return literal_column(f"(jobs.device IN ('{kind}', 'auto') AND ({has_enough}))", Boolean())


def open_seats(session: Session, lease: Lease, owner: str, devices: Mapping[str, int]) -> None:
    """Let workers join the attempt that `owner` leads, which has these devices.

    The gangs of attempts that have ended are forgotten.
    """
    is_led = exists().where(_IS_LED)
    session.execute(delete(GangRow).where(~is_led).execution_options(**_NO_ORM))
    kept = exists().where(GangRow.job_id == GangMemberRow.job_id, GangRow.token == GangMemberRow.token)
    session.execute(delete(GangMemberRow).where(~kept).execution_options(**_NO_ORM))
    key = {"job_id": lease.job_id, "token": lease.token}
    session.execute(insert(GangRow).values(**key, device=_kind_of_device(session, lease, devices), round=0))
    rows = [{**key, "node": node, "worker": None if node else owner, "leaving": False} for node in range(lease.nodes)]
    session.execute(insert(GangMemberRow), rows)


def _kind_of_device(session: Session, lease: Lease, devices: Mapping[str, int]) -> str:
    """Return what a gang computes on where its job leaves it open: GPUs, unless only others have enough workers."""
    row = session.execute(select(JobRow.device, JobRow.devices).where(JobRow.id == lease.job_id)).one()
    if row.device != "auto":
        return str(row.device)
    own = [kind for kind in KINDS if devices.get(kind, 0) >= row.devices]
    enough = (kind for kind in own if workers.count_capable(session, kind, row.devices) >= lease.nodes)
    return next(enough, own[0])


def take_seat(session: Session, owner: str, seconds: float, devices: Mapping[str, int]) -> Seat | None:
    """Take a seat in the gang that gathers, if its job can run on so many devices of these kinds; or one's own.

    A worker that may start a more urgent job takes no further seat.
    """
    turns.wait_for_claims(session)
    now = session.execute(select(db_now())).scalar_one()
    which = or_(GangMemberRow.worker == owner, _is_open(now) & _fits(devices))
    urgency = session.scalar(select(JobRow.urgency).join(GangRow, _IS_LED).where(GangRow.size.is_(None)).limit(1))
    single = (JobRow.nodes == 1) & turns.fits(devices)
    if urgency is not None and turns.has_more_urgent(session, now, urgency, single):
        which = GangMemberRow.worker == owner
    return _take(session, owner, now + seconds, which)


def preempt(session: Session, lease: Lease, owner: str, seconds: float, devices: Mapping[str, int]) -> Seat | None:
    """Take a seat for a worker that is still at work, where the gang's job goes before the job of `lease`.

    One that is more urgent or, of equal urgency, has the higher priority does. The worker lets go of its job then, and
    renews the seat by asking again.
    """
    now = session.execute(select(db_now())).scalar_one()
    own = select(JobRow.urgency, JobRow.priority).where(JobRow.id == lease.job_id)
    row = session.execute(own).one()
    is_before = or_(JobRow.urgency > row.urgency, (JobRow.urgency == row.urgency) & (JobRow.priority > row.priority))
    which = or_(GangMemberRow.worker == owner, _is_open(now) & _fits(devices) & is_before)
    return _take(session, owner, now + seconds, which)


def _is_open(now: float) -> ColumnElement[bool]:
    """Whether a seat of a gang that gathers is free at the time `now`."""
    is_free = or_(GangMemberRow.worker.is_(None), GangMemberRow.lease_until < now)
    return and_(GangRow.size.is_(None), GangMemberRow.node > 0, is_free)


def _fits(devices: Mapping[str, int]) -> ColumnElement[bool]:
    return or_(*((GangRow.device == kind) & (JobRow.devices <= count) for kind, count in devices.items()))


def _take(session: Session, owner: str, until: float, which: ColumnElement[bool]) -> Seat | None:
    of_gang = and_(GangMemberRow.job_id == GangRow.job_id, GangMemberRow.token == GangRow.token)
    query = (
        select(GangMemberRow.job_id, GangMemberRow.token, GangMemberRow.node, JobRow.traceparent)
        .join(GangRow, of_gang)
        .join(JobRow, _IS_LED)
        .where(GangMemberRow.node > 0, which)
        .order_by(GangMemberRow.node)
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    seat = Seat(job_id=row.job_id, token=row.token, node=row.node, traceparent=row.traceparent)
    # Another worker may have been faster since it was read, or the gang have begun without it.
    is_free = or_(GangMemberRow.worker.is_(None), GangMemberRow.worker == owner, GangMemberRow.lease_until < db_now())
    taken = update(GangMemberRow).where(_is(seat), is_free).values(worker=owner, lease_until=until)
    is_ours = session.execute(taken.returning(GangMemberRow.node).execution_options(**_NO_ORM)).first() is not None
    return seat if is_ours else None


def waiting_for(session: Session, job: JobRow) -> str | None:
    """Say why no worker may gather a gang for a queued job at this moment; None where one may."""
    if session.scalar(_GATHERING.limit(1)) is not None:
        return "Another job of several nodes, which gathers its workers."
    if session.scalar(select(CheckpointRow.id).where(CheckpointRow.job_id == job.id).limit(1)) is not None:
        return None
    kinds = KINDS if job.device == "auto" else (job.device,)
    capable = max(workers.count_capable(session, kind, job.devices) for kind in kinds)
    if capable >= job.nodes:
        return None
    return f"{job.nodes} workers with {job.devices} devices ({job.device}) each: {capable} were seen of late."


def renew(session: Session, seat: Seat, owner: str, seconds: float) -> bool:
    """Renew a seat; return False where the attempt has ended or the seat is another's."""
    led = exists().where(JobRow.id == seat.job_id, JobRow.token == seat.token, JobRow.status.in_(LEASED))
    change = update(GangMemberRow).where(_is(seat), GangMemberRow.worker == owner, led)
    renewed = change.values(lease_until=db_now() + seconds).returning(GangMemberRow.node)
    return session.execute(renewed.execution_options(**_NO_ORM)).first() is not None


def announce_leaving(session: Session, seat: Seat, owner: str) -> None:
    """Ask the leader to save and give the job back, since this worker shuts down."""
    own = and_(_is(seat), GangMemberRow.worker == owner)
    session.execute(update(GangMemberRow).where(own).values(leaving=True).execution_options(**_NO_ORM))


def leave(session: Session, seat: Seat, owner: str, exit_code: int | None) -> None:
    """Give a seat back: while the gang gathers it is open again, later the gang is broken."""
    own = and_(_is(seat), GangMemberRow.worker == owner)
    change = update(GangMemberRow).where(own).values(worker=None, lease_until=None, leaving=False, exit_code=exit_code)
    session.execute(change.execution_options(**_NO_ORM))


def count_members(session: Session, lease: Lease) -> int:
    """Return how many nodes are held, the leader's among them."""
    return session.scalar(select(func.count()).where(*_held(lease))) or 0


def patience(session: Session, lease: Lease, seconds: float) -> float:
    """Return for how many seconds an attempt gathers at least.

    They are `seconds`, and twice as long after each attempt that was in vain; `seconds` alone where it `holds`.
    """
    if holds(session, lease):
        return seconds
    earlier = reversed([row for row in attempts.of_job(session, lease.job_id) if row.token < lease.token])
    in_vain = sum(1 for _ in takewhile(lambda row: row.ending == "too_few_workers", earlier))
    return min(seconds * 2.0**in_vain, max(_MAX_PATIENCE, seconds))


def holds(session: Session, lease: Lease) -> bool:
    """Whether a gang keeps its workers until all are there, however long that takes.

    It does where its job has waited for so long that it has precedence, unless too few workers live that could join,
    or one of those that are there could run a more urgent job.
    """
    now = session.execute(select(db_now())).scalar_one()
    columns = (JobRow.queued_at, JobRow.urgency, JobRow.nodes, JobRow.devices, GangRow.device)
    gang = session.execute(select(*columns).join(GangRow, _IS_LED).where(*_of(GangRow, lease))).one_or_none()
    if gang is None or gang.queued_at >= turns.long_ago(session, now):
        return False
    if workers.count_capable(session, gang.device, gang.devices) < gang.nodes:
        return False
    is_member = and_(*_held(lease), WorkerRow.id == GangMemberRow.worker)
    can_run, has_workers = (or_(*map(check, KINDS)) for check in (_can_run, _has_workers))
    may_run = exists().where(is_member, can_run).correlate(JobRow) & or_(JobRow.nodes == 1, has_workers)
    return not turns.has_more_urgent(session, now, gang.urgency, may_run)


def begin(session: Session, lease: Lease, least: int) -> int | None:
    """Close the gang where at least `least` nodes are held, and return how many; None where they are fewer.

    A closed gang takes nobody more. Only now the attempt's time begins, which may be limited.
    """
    count = count_members(session, lease)
    if count < least:
        return None
    held = select(GangMemberRow.node).where(*_held(lease))
    others = delete(GangMemberRow).where(*_of(GangMemberRow, lease), GangMemberRow.node.not_in(held))
    session.execute(others.execution_options(**_NO_ORM))
    closed = update(GangRow).where(*_of(GangRow, lease)).values(size=count)
    session.execute(closed.execution_options(**_NO_ORM))
    attempts.restart_clock(session, lease)
    return count


def state_of(session: Session, lease: Lease) -> State:
    """Return whether the gang that an attempt leads can go on."""
    gang = session.execute(select(GangRow.size).where(*_of(GangRow, lease))).one_or_none()
    if gang is None or gang.size is None:
        return State(state="whole" if gang is None else "gathering")
    if count_members(session, lease) < gang.size:
        failed = select(func.max(GangMemberRow.exit_code)).where(*_of(GangMemberRow, lease))
        return State(state="broken", exit_code=session.scalar(failed))
    leaving = select(GangMemberRow.node).where(*_of(GangMemberRow, lease), GangMemberRow.leaving)
    return State(state="whole" if session.scalar(leaving.limit(1)) is None else "leaving")


def device_of(session: Session, lease: Lease) -> str:
    """Return the kind of device that a gang computes on."""
    return str(session.scalars(select(GangRow.device).where(*_of(GangRow, lease))).one())


def call(session: Session, lease: Lease, address: str) -> None:
    """Call all nodes to meet at an address (host:port), for another round of the training."""
    change = update(GangRow).where(*_of(GangRow, lease)).values(round=GangRow.round + 1, address=address)
    session.execute(change.execution_options(**_NO_ORM))


def meeting(session: Session, seat: Seat, after: int) -> Meeting | None:
    """Return where a member's ranks meet in the first round later than `after`; None until they are called.

    Raises `PartedError`: the gang has parted, or is another's by now.
    """
    columns = (GangRow.round, GangRow.address, GangRow.size, GangRow.device)
    gang = session.execute(select(*columns).where(*_of(GangRow, seat))).one_or_none()
    nodes = select(GangMemberRow.node).where(*_of(GangMemberRow, seat)).order_by(GangMemberRow.node)
    places = list(session.scalars(nodes))
    if gang is None or seat.node not in places:
        raise PartedError
    if gang.round <= after:
        return None
    place = places.index(seat.node)
    return Meeting(round=gang.round, address=gang.address, place=place, size=gang.size, device=gang.device)


def part(session: Session, lease: Lease) -> None:
    """Let all members go: the leader does the rest of the job alone."""
    for table in (GangMemberRow, GangRow):
        session.execute(delete(table).where(*_of(table, lease)).execution_options(**_NO_ORM))


def _of(table: type[GangRow] | type[GangMemberRow], right: Lease | Seat) -> tuple[ColumnElement[bool], ...]:
    return table.job_id == right.job_id, table.token == right.token


def _is(seat: Seat) -> ColumnElement[bool]:
    return and_(*_of(GangMemberRow, seat), GangMemberRow.node == seat.node)


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    alive = or_(GangMemberRow.node == 0, GangMemberRow.lease_until >= db_now())
    return *_of(GangMemberRow, lease), GangMemberRow.worker.is_not(None), alive
