"""Figures for an operator's Prometheus.

Whatever concerns jobs is asked of the database at each reading, so that it is true whichever process answers; requests
and rings are counted by the process that is asked.
"""

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import AttemptRow, JobRow
from app.estimates import record
from app.jobs import lease, workers
from app.jobs.states import LIVING
from app.queue import JobQueue

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Those of one process."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Jobs(database))
        self._registry.register(_Rings(queue))
        self._requests = Histogram(
            "graftwork_request_seconds",
            "Time until a request was answered, by the route that answered it.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the template of its path, so that there are few of them."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format. Raises SQLAlchemyError where the database is away."""
        return generate_latest(self._registry)


class _Rings(Collector):
    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        told = "Rings that did not reach the broker; the sweeper makes them good."
        yield CounterMetricFamily("graftwork_ring_failures", told, value=self._queue.failures)


class _Jobs(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing: registering it asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._database.reading() as session:
            yield from _queue(session)
            yield from _attempts(session)
            yield _steps(session)
            yield _estimates(session)


def _queue(session: Session) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("graftwork_jobs", "Jobs that have not ended.", labels=("kind", "status"))
    count = select(JobRow.kind, JobRow.status, func.count()).where(JobRow.status.in_(LIVING))
    for kind, status, number in session.execute(count.group_by(JobRow.kind, JobRow.status)):
        jobs.add_metric((kind, status), number)
    yield jobs
    waited = lease.longest_wait(session)
    told = "Seconds that the oldest job has been queued that a worker could start; 0 where there is none."
    yield GaugeMetricFamily("graftwork_oldest_queued_job_seconds", told, value=waited)
    seen = GaugeMetricFamily(
        "graftwork_workers", "Workers seen of late that have a kind of device.", labels=("device",)
    )
    for device, number in workers.count_seen(session).items():
        seen.add_metric((device,), number)
    yield seen


def _attempts(session: Session) -> Iterator[Metric]:
    """A loss of a lease is an attempt that ended silent."""
    told = "Attempts at jobs by how they ended; of those that went on later, too."
    ended = CounterMetricFamily("graftwork_attempts", told, labels=("ending",))
    count = select(AttemptRow.ending, func.count()).where(AttemptRow.ending.is_not(None))
    for ending, number in session.execute(count.group_by(AttemptRow.ending)):
        ended.add_metric((str(ending),), number)
    yield ended


def _steps(session: Session) -> Metric:
    """From what the running jobs tell of their progress; the mean of those of a kind."""
    told = "Seconds that a training step takes, of the jobs that run now."
    steps = GaugeMetricFamily("graftwork_step_seconds", told, labels=("kind",))
    taken: dict[str, list[float]] = {}
    for kind, progress in session.execute(select(JobRow.kind, JobRow.progress).where(JobRow.status == "running")):
        left = progress["total_steps"] - progress["step"] if progress else 0
        if left > 0 and progress["eta_seconds"] is not None:
            taken.setdefault(kind, []).append(progress["eta_seconds"] / left)
    for kind, seconds in taken.items():
        steps.add_metric((kind,), sum(seconds) / len(seconds))
    return steps


def _estimates(session: Session) -> Metric:
    """Above 1 where trainings took longer than they were estimated to."""
    told = "Seconds that trainings took by those that were estimated; over all that were."
    found = record.errors(session)
    ratios = GaugeMetricFamily("graftwork_estimate_ratio", told, labels=("quantile",))
    if found:
        for quantile, value in zip(("0.1", "0.5", "0.9"), np.quantile(found, (0.1, 0.5, 0.9)), strict=True):
            ratios.add_metric((quantile,), float(value))
    return ratios
