"""Places in the queue: how many jobs start before a queued one if nobody submits and none ends.

`app.jobs.turns` says in which order they start. For all jobs of a page the same few statements are run once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, ScalarSelect, Select, bindparam, func, select
from sqlalchemy.orm import Session, aliased

from app.db.session import db_now
from app.db.tables import JobRow, ProjectRow
from app.jobs.states import LEASED
from app.jobs.turns import long_ago, longest_waiting, running_jobs

MAX_POSITION = 1000  # the largest that is counted
_QUEUED = (JobRow.status == "queued") & JobRow.wakes_at.is_(None)
_MAX: BindParameter[int] = bindparam("maximum", type_=BigInteger())
_MOST: BindParameter[int] = bindparam("most", type_=BigInteger())
_URGENCY: BindParameter[int] = bindparam("urgency", type_=BigInteger())


@dataclass(frozen=True, slots=True)
class _Own:
    """A queued job, and what its own project runs and queues before it, but for a job that has precedence."""

    id: str
    project_id: str
    urgency: int
    priority: int
    running: int
    urgent: int
    peers: int


def queue_positions(session: Session, jobs: Sequence[JobRow]) -> dict[str, int]:
    """Return how many jobs start before each of these, by its id; those that are not queued are left out.

    At most MAX_POSITION: further ones are not counted. A sweep has started while its trials run.
    """
    ids = [job.id for job in jobs if job.status == "queued" and job.wakes_at is None]
    if not ids:
        return {}
    rows = session.execute(_OWN, {"ids": ids, "maximum": MAX_POSITION}).all()
    by_urgency: dict[int, list[_Own]] = defaultdict(list)
    for row in rows:  # those that are still queued
        own = _Own(row.id, row.project_id, row.urgency, row.priority, row.running, row.urgent, row.higher + row.earlier)
        by_urgency[own.urgency].append(own)
    places: dict[str, int] = {}
    for urgency, peers in by_urgency.items():
        places |= _of_urgency(session, urgency, peers, long_ago(session, rows[0].now))
    return places


def _of_urgency(session: Session, urgency: int, jobs: Sequence[_Own], since: float) -> dict[str, int]:
    """Return the places of jobs of an urgency; those queued before `since` have precedence."""
    values = {"urgency": urgency, "long_ago": since}
    waits = session.execute(_WAITS, {**values, "projects": list({job.project_id for job in jobs})})
    early: dict[str, Any] = {}
    for project in [row.id for row in waits if row.queued_at is not None]:
        early[project] = session.execute(_EARLY, {**values, "project": project}).one_or_none()
    own = [_place(job, early.get(job.project_id)) for job in jobs]
    queues: dict[str, Any] = {}
    if any(before < MAX_POSITION for before, _ in own):
        most = max(job.running + before for job, (before, _) in zip(jobs, own, strict=True)) + 1
        counted = {**values, "maximum": MAX_POSITION, "most": min(most, MAX_POSITION)}
        queues = {row.id: row for row in session.execute(_QUEUES, counted)}
    places: dict[str, int] = {}
    for job, (before, is_early) in zip(jobs, own, strict=True):
        others = _of_others(queues, job, None if is_early else job.running + before) if before < MAX_POSITION else 0
        places[job.id] = min(before + others, MAX_POSITION)
    return places


def _place(job: _Own, early: Any) -> tuple[int, bool]:
    """Return how many jobs of its own project start before a job, and whether it has precedence as `early` has."""
    if early is None:
        return job.urgent + job.peers, False
    if early.id == job.id:
        return job.urgent, True
    return job.urgent + job.peers + ((-early.priority, early.id) > (-job.priority, job.id)), False


def _of_others(queues: Mapping[str, Any], job: _Own, place: int | None) -> int:
    """Count the jobs of other projects that start before a job.

    The job's own project runs or queues `place` jobs before it; None where the job has precedence itself.
    """
    own = queues[job.project_id]
    others = [queue for queue in queues.values() if queue.id != job.project_id]
    before = sum(queue.urgent for queue in others)
    if place is None:
        waits = [(queue.queued_at, queue.id) for queue in others if queue.queued_at is not None]
        wait = own.queued_at or 0.0  # it may have been claimed since
        return int(before + sum(other < (wait, own.id) for other in waits))
    for queue in others:
        early = queue.queued_at is not None
        rounds = place - _jobs(queue) + (_order(queue) < _order(own))
        before += early + min(queue.peers - early, max(0, rounds))
    return int(before)


def _jobs(queue: Any) -> int:
    """Return how many jobs a project runs once those have started that come before turns."""
    return int(queue.jobs + queue.urgent + (queue.queued_at is not None))


def _order(queue: Any) -> tuple[int, float, int, int, str]:
    """Return by what projects are ordered when they run as many jobs: who ran more before was served longer ago."""
    return -_jobs(queue), queue.queued_at or 0.0, queue.urgent, queue.turn, queue.id


# The statements are made once: to build one costs as much as to run it.


def _own() -> Select[*tuple[Any, ...]]:
    """Select each job of `ids`, the running jobs of its project, and the queued ones of it that come before."""
    job = aliased(JobRow)
    own = JobRow.project_id == job.project_id
    peer = own & (JobRow.urgency == job.urgency)

    def count(condition: ColumnElement[bool]) -> ScalarSelect[int]:
        queued = select(JobRow.id).where(_QUEUED, condition).limit(_MAX).correlate(job).subquery()
        return select(func.count()).select_from(queued).correlate(job).scalar_subquery()

    running = select(func.count()).where(own, JobRow.status.in_(LEASED)).correlate(job).scalar_subquery()
    return select(
        job.id,
        job.project_id,
        job.urgency,
        job.priority,
        running.label("running"),
        count(own & (JobRow.urgency > job.urgency)).label("urgent"),
        count(peer & (JobRow.priority > job.priority)).label("higher"),
        count(peer & (JobRow.priority == job.priority) & (JobRow.id < job.id)).label("earlier"),
        db_now().label("now"),
    ).where(job.id.in_(bindparam("ids", expanding=True)), job.status == "queued", job.wakes_at.is_(None))


def _queues() -> Select[*tuple[Any, ...]]:
    """Select each project's turn, its running jobs, and its queued jobs that are of an urgency, its peers, or more so.

    `queued_at` is that of the peer that has precedence. Peers are counted up to `most`: further ones cannot matter.
    """
    running = running_jobs().subquery()
    own = JobRow.project_id == ProjectRow.id

    def count(condition: ColumnElement[bool], limit: BindParameter[int]) -> ScalarSelect[int]:
        queued = select(JobRow.id).where(_QUEUED, own, condition).limit(limit).correlate(ProjectRow).subquery()
        return select(func.count()).select_from(queued).correlate(ProjectRow).scalar_subquery()

    return select(
        ProjectRow.id,
        ProjectRow.turn,
        func.coalesce(running.c.jobs, 0).label("jobs"),
        count(JobRow.urgency > _URGENCY, _MAX).label("urgent"),
        count(JobRow.urgency == _URGENCY, _MOST).label("peers"),
        longest_waiting(_QUEUED, _URGENCY).label("queued_at"),
    ).outerjoin(running, running.c.project_id == ProjectRow.id)


def _waits() -> Select[*tuple[Any, ...]]:
    """Select when the job of each of some projects was queued that has precedence among those of an urgency."""
    queued_at = longest_waiting(_QUEUED, _URGENCY).label("queued_at")
    return select(ProjectRow.id, queued_at).where(ProjectRow.id.in_(bindparam("projects", expanding=True)))


def _early() -> Select[str, int]:
    """Select the id and priority of the job of a project that has precedence among those of an urgency."""
    project: BindParameter[str] = bindparam("project")
    own = (JobRow.project_id == project) & (JobRow.urgency == _URGENCY)
    queued_at = select(longest_waiting(_QUEUED, _URGENCY)).where(ProjectRow.id == project).scalar_subquery()
    jobs = select(JobRow.id, JobRow.priority).where(own, _QUEUED, JobRow.queued_at == queued_at)
    return jobs.order_by(JobRow.id).limit(1)


_OWN, _QUEUES, _WAITS, _EARLY = _own(), _queues(), _waits(), _early()
