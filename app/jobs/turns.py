"""Fair turns: whose job is claimed next.

Of the projects that have a job to start and may run one more, the one with the fewest running jobs is next; of those,
the one that was served longest ago. A project's priorities order its own jobs. Two things come before turns: `urgency`,
which an administrator sets, and then precedence. A job that has been queued for longer than the service's patience has
precedence, so that none starves that only few workers can run; the job that waits longest comes first. Only one job of
a project runs by precedence at a time: else a project could queue a thousand jobs and have all workers a day later.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Double,
    ScalarSelect,
    Select,
    String,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from app.db.session import db_now, default_limits
from app.db.tables import JobRow, ProjectRow
from app.jobs.states import LEASED, TERMINAL
from app.jobs.workers import usual
from app.projects.repository import limits_of

FIRST = (JobRow.urgency.desc(), JobRow.priority.desc(), JobRow.id)  # the order within a project
LONGEST_WAITING = (JobRow.queued_at, JobRow.id)  # the order of those that have precedence
NOW: BindParameter[float] = bindparam("now", type_=Double())
_LOCK = 0x67726167  # "grag", PostgreSQL's advisory lock for claims
_ALONE = select(func.pg_advisory_xact_lock(_LOCK))


def _startable() -> ColumnElement[bool]:
    """Queued and due at `now`; of a waiting sweep few enough trials are unfinished.

    Asked of the trials themselves and written nowhere, so that no end of a trial can be missed.
    """
    trial = aliased(JobRow)
    unfinished = (
        select(func.count())
        .select_from(trial)
        .where(trial.sweep_id == JobRow.id, trial.status.not_in(TERMINAL))
        .correlate(JobRow)
        .scalar_subquery()
    )
    due = or_(JobRow.not_before.is_(None), JobRow.not_before <= NOW)
    return (JobRow.status == "queued") & due & or_(JobRow.wakes_at.is_(None), unfinished <= JobRow.wakes_at)


STARTABLE = _startable()  # statements are made once: to build one costs as much as to run it


def fits(devices: Mapping[str, int]) -> ColumnElement[bool]:
    """Whether so many devices of these kinds can run a job, or a node of it."""
    counts = {**devices, "auto": usual(devices)}
    return or_(*((JobRow.device == kind) & (JobRow.devices <= count) for kind, count in counts.items()))


def has_more_urgent(session: Session, now: float, urgency: int, which: ColumnElement[bool]) -> bool:
    """Whether a job of higher urgency may start, among `which` jobs."""
    job = select(JobRow.id).where(STARTABLE, JobRow.urgency > urgency, which)
    return (
        session.scalar(job.where(JobRow.project_id.not_in(full_projects(session))).limit(1), {"now": now}) is not None
    )


def wait_for_claims(session: Session) -> None:
    """Wait until no other claim is under way, as SQLite does by itself.

    Turns and caps hold only where each claim sees those before it; a claim takes milliseconds.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ALONE)


def clock(devices: Collection[str]) -> Select[*tuple[Any, ...]]:
    """Return the statement that reads the time, and when the oldest queued job for each kind of device was queued."""
    oldest = (
        select(func.min(JobRow.queued_at)).where(JobRow.status == "queued", JobRow.device == kind).scalar_subquery()
        for kind in (*devices, "auto")
    )
    return select(db_now(), *oldest)


def choice(claimable: ColumnElement[bool]) -> Select[str, int]:
    """Return the statement of `next_project`, for the jobs that are `claimable` at a time `now`."""
    running = running_jobs().subquery()
    urgency = (
        select(JobRow.urgency)
        .where(JobRow.project_id == ProjectRow.id, claimable)
        .order_by(*FIRST)
        .limit(1)
        .correlate(ProjectRow)
        .scalar_subquery()
    )
    projects = (
        select(ProjectRow.id, ProjectRow.turn, running.c.jobs, urgency.label("urgency"))
        .outerjoin(running, running.c.project_id == ProjectRow.id)
        .where(ProjectRow.id.not_in(_FULL), ~_PASSED)
        .subquery()
    )
    order = (projects.c.urgency.desc(), func.coalesce(projects.c.jobs, 0), projects.c.turn, projects.c.id)
    return select(projects.c.id, projects.c.urgency).where(projects.c.urgency.is_not(None)).order_by(*order).limit(1)


def next_project(
    session: Session, chosen: Select[str, int], now: float, passed: Sequence[str] = ()
) -> tuple[str, int] | None:
    """Return the project whose turn it is, and how urgent its best job is; None where no project has one to claim.

    Projects that are `passed` are left out.
    """
    values = {"now": now, "passed": passed, "maximum": default_limits(session).max_running_jobs}
    row = session.execute(chosen, values).one_or_none()
    return None if row is None else (row.id, row.urgency)


def precedence(claimable: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Return the statement of `first_by_precedence`, for the jobs that are `claimable` at a time `now`."""
    queued_at = longest_waiting(claimable, bindparam("urgent", type_=BigInteger())).label("queued_at")
    projects = select(ProjectRow.id, queued_at).where(ProjectRow.id.not_in(_FULL), ~_PASSED)
    return projects.order_by(queued_at.asc().nulls_last(), ProjectRow.id).limit(1)


def first_by_precedence(
    session: Session, chosen: Select[*tuple[Any, ...]], now: float, urgency: int, passed: Sequence[str] = ()
) -> str | None:
    """Return the project of the job that has precedence, and waits longest, among those of an urgency; None without."""
    values = {"now": now, "passed": passed, "maximum": default_limits(session).max_running_jobs}
    row = session.execute(chosen, {**values, "urgent": urgency, "long_ago": long_ago(session, now)}).one_or_none()
    return None if row is None or row.queued_at is None else row.id


def long_ago(session: Session, now: float) -> float:
    """Return the time before which a job must have been queued to have precedence; 0 where none ever has."""
    patience = default_limits(session).patience_seconds
    return now - patience if patience else 0.0


def has_waited() -> ColumnElement[bool]:
    """Whether a job has been queued since before `long_ago`."""
    return JobRow.queued_at < _LONG_AGO


def longest_waiting(which: ColumnElement[bool], urgency: ColumnElement[int]) -> ScalarSelect[float]:
    """Return when the longest waiting of a project's jobs that have precedence was queued, null without one."""
    early = aliased(JobRow)
    runs_one = exists().where(early.id == ProjectRow.precedence_id, early.status.in_(LEASED)).correlate(ProjectRow)
    own = (JobRow.project_id == ProjectRow.id) & (JobRow.urgency == urgency) & has_waited()
    queued_at = select(JobRow.queued_at).where(own, which, ~runs_one).order_by(*LONGEST_WAITING).limit(1)
    return queued_at.correlate(ProjectRow).scalar_subquery()


def serve(session: Session, project_id: str, early: str | None) -> None:
    """Note that a job of the project was claimed, `early` by precedence: all others come before its next one."""
    session.connection().execute(_SERVE, {"project": project_id, "early": early})


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


def running_jobs() -> Select[str, int]:
    """Select the projects that have running jobs, and how many."""
    count = func.count().label("jobs")
    return select(JobRow.project_id, count).where(JobRow.status.in_(LEASED)).group_by(JobRow.project_id)


_LONG_AGO: BindParameter[float] = bindparam("long_ago", type_=Double())
_PASSED = ProjectRow.id.in_(bindparam("passed", expanding=True))
_FULL = _full()
_SERVE = (
    update(ProjectRow)
    .where(ProjectRow.id == bindparam("project"))
    .values(
        turn=select(func.max(ProjectRow.turn)).scalar_subquery() + 1,
        precedence_id=func.coalesce(bindparam("early", type_=String()), ProjectRow.precedence_id),
    )
)
