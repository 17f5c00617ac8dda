"""Fair turns: whose job is claimed next, and how many jobs of the queue start before one.

Of the projects that have a job to start and may run one more, the one with the fewest running jobs is next; of those,
the one that was served longest ago. A project's priorities order its own jobs. Only `urgency`, which an administrator
sets, comes before turns.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, Select, bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from app.db.session import default_limits
from app.db.tables import JobRow, ProjectRow
from app.jobs.states import LEASED
from app.projects.repository import limits_of

FIRST = (JobRow.urgency.desc(), JobRow.priority.desc(), JobRow.id)  # the order within a project
MAX_POSITION = 1000  # the largest place in the queue that is counted
_LOCK = 0x67726167  # "grag", PostgreSQL's advisory lock for claims
_ALONE = select(func.pg_advisory_xact_lock(_LOCK))


def wait_for_claims(session: Session) -> None:
    """Wait until no other claim is under way, as SQLite does by itself.

    Turns and caps hold only where each claim sees those before it; a claim takes milliseconds.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ALONE)


def choice(claimable: ColumnElement[bool]) -> Select[str]:
    """Return the statement of `next_project`, for the jobs that are `claimable` at a time `now`."""
    running = _running().subquery()
    urgency = (
        select(JobRow.urgency)
        .where(JobRow.project_id == ProjectRow.id, claimable)
        .order_by(*FIRST)
        .limit(1)
        .correlate(ProjectRow)
        .scalar_subquery()
    )
    passed = ProjectRow.id.in_(bindparam("passed", expanding=True))
    projects = (
        select(ProjectRow.id, ProjectRow.turn, running.c.jobs, urgency.label("urgency"))
        .outerjoin(running, running.c.project_id == ProjectRow.id)
        .where(ProjectRow.id.not_in(_FULL), ~passed)
        .subquery()
    )
    order = (projects.c.urgency.desc(), func.coalesce(projects.c.jobs, 0), projects.c.turn, projects.c.id)
    return select(projects.c.id).where(projects.c.urgency.is_not(None)).order_by(*order).limit(1)


def next_project(session: Session, chosen: Select[str], now: float, passed: Sequence[str] = ()) -> str | None:
    """Return the project whose turn it is, among those with a job to claim and not `passed`; None without any."""
    values = {"now": now, "passed": passed, "maximum": default_limits(session).max_running_jobs}
    return session.scalar(chosen, values)


def serve(session: Session, project_id: str) -> None:
    """Note that a job of the project was claimed: all others come before its next one."""
    session.connection().execute(_SERVE, {"project": project_id})


def full_projects(session: Session) -> Select[str]:
    """Select the ids of the projects that run as many jobs as they may."""
    return _FULL.params(maximum=default_limits(session).max_running_jobs)


def _full() -> Select[str]:
    maximum = func.nullif(func.coalesce(ProjectRow.max_running_jobs, bindparam("maximum", type_=BigInteger())), 0)
    running = select(JobRow.project_id).join(ProjectRow, ProjectRow.id == JobRow.project_id)
    running = running.where(JobRow.status.in_(LEASED))
    return running.group_by(JobRow.project_id, ProjectRow.max_running_jobs).having(func.count() >= maximum)


def max_running(session: Session, project_id: str) -> int | None:
    """Return how many jobs a project may run where it runs so many now, else None."""
    if session.scalar(full_projects(session).where(JobRow.project_id == project_id)) is None:
        return None
    return limits_of(session, project_id).max_running_jobs


def queue_position(session: Session, job: JobRow) -> int | None:
    """Return how many jobs start before this one if nobody submits and none ends, None once it has started.

    At most MAX_POSITION: further ones are not counted. A sweep has started while its trials run.
    """
    if job.status != "queued" or job.wakes_at is not None:
        return None
    own = JobRow.project_id == job.project_id
    peer = own & (JobRow.urgency == job.urgency)
    running = select(func.count()).where(own, JobRow.status.in_(LEASED)).scalar_subquery()
    columns = (
        running,
        _count(own & (JobRow.urgency > job.urgency), MAX_POSITION),
        _count(peer & (JobRow.priority > job.priority), MAX_POSITION),
        _count(peer & (JobRow.priority == job.priority) & (JobRow.id < job.id), MAX_POSITION),
    )
    counts = session.execute(select(*columns).where(_is_queued(job.id))).one_or_none()
    if counts is None:  # it was claimed since its row was read
        return None
    runs, urgent, *earlier = counts
    before = urgent + sum(earlier)
    if before < MAX_POSITION:
        before += _of_others(session, job, runs + sum(earlier))
    return int(min(before, MAX_POSITION))


def _of_others(session: Session, job: JobRow, place: int) -> int:
    """Count the jobs of other projects that start before a job whose own project runs or queues so many before it."""
    queues = {row.id: row for row in session.execute(_queues(job, place))}
    own = queues.pop(job.project_id)
    before = 0
    for project_id, queue in queues.items():
        is_first = (queue.turn, project_id) < (own.turn, job.project_id)
        before += queue.urgent + min(queue.peers, max(0, place - queue.jobs + is_first))
    return int(before)


def _is_queued(job_id: str) -> ColumnElement[bool]:
    return exists().where(JobRow.id == job_id, _QUEUED)


def _count(condition: ColumnElement[bool], limit: int) -> ScalarSelect[int]:
    """Return the number of queued jobs, up to a limit, as a column; a project's where the statement names one."""
    rows = select(JobRow.id).where(_QUEUED, condition).limit(limit).correlate(ProjectRow).subquery()
    return select(func.count()).select_from(rows).correlate(ProjectRow).scalar_subquery()


def _running() -> Select[str, int]:
    """Select the projects that have running jobs, and how many."""
    count = func.count().label("jobs")
    return select(JobRow.project_id, count).where(JobRow.status.in_(LEASED)).group_by(JobRow.project_id)


def _queues(job: JobRow, place: int) -> Select[*tuple[Any, ...]]:
    """Select each project's turn, its running jobs, and its queued jobs that are more urgent than a job, or peers.

    Peers are counted as far as they can matter, up to one more than the job's place in its own project.
    """
    running = _running().subquery()
    own = JobRow.project_id == ProjectRow.id
    return select(
        ProjectRow.id,
        ProjectRow.turn,
        func.coalesce(running.c.jobs, 0).label("jobs"),
        _count(own & (JobRow.urgency > job.urgency), MAX_POSITION).label("urgent"),
        _count(own & (JobRow.urgency == job.urgency), min(place + 1, MAX_POSITION)).label("peers"),
    ).outerjoin(running, running.c.project_id == ProjectRow.id)


_QUEUED = (JobRow.status == "queued") & JobRow.wakes_at.is_(None)
_FULL = _full()
_SERVE = (
    update(ProjectRow)
    .where(ProjectRow.id == bindparam("project"))
    .values(turn=select(func.max(ProjectRow.turn)).scalar_subquery() + 1)
)
