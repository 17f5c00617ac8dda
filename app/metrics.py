"""Metrics for an operator's Prometheus.

Each scrape queries the database for the metrics of jobs, so that every API process answers the same, and reads no more
of it than what lives: totals of what ended are kept (`app.history`). Requests and failed rings and warnings of answers
are counted by the process that is scraped.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from app.db.session import Database
from app.estimates import repository as estimates
from app.history import repository as history
from app.jobs import lease, repository, workers
from app.queue import JobQueue
from app.webhooks import repository as webhooks

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one process."""

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
        self._requests_of = lru_cache(maxsize=4096)(
            lambda method, route, status: self._requests.labels(method, route, str(status))
        )
        self._warnings = _Warnings(database)
        self._registry.register(self._warnings)
        self._registry.register(_Webhooks(database))
        self._webhook_attempts = PrometheusCounter(
            "graftwork_webhook_attempts",
            "Attempts of this process to deliver messages of webhooks: delivered, failed (another follows) or dead.",
            ("outcome",),
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the template of its path, so that there are few of them."""
        self._requests_of(method, route, status).observe(seconds)

    def warning(self, code: str) -> None:
        """Count a warning of a prediction, an embedding or a generation."""
        self._warnings.add(code)

    def webhook_attempt(self, outcome: str) -> None:
        """Count an attempt to deliver a message of a webhook."""
        self._webhook_attempts.labels(outcome).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format. Raises SQLAlchemyError where the database is away."""
        return generate_latest(self._registry)


class _Warnings(Collector):
    """Warnings of the answers of this process, and of all jobs, preparations of datasets among them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, code: str) -> None:
        """Count a warning of an answer."""
        with self._lock:
            self._answered[code] += 1

    def describe(self) -> list[Metric]:
        """Describe nothing, so that registering this collector queries no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            totals = Counter(self._answered)
        with self._database.reading() as session:
            totals.update(history.read_total(session, history.WARNINGS))
        help_text = "Warnings of ended jobs, preparations among them, and of the answers of this process."
        family = CounterMetricFamily("graftwork_warnings", help_text, labels=("code",))
        for code, number in sorted(totals.items()):
            family.add_metric((code,), number)
        yield family


class _Webhooks(Collector):
    """Deliveries that are kept in the database, by status."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Describe nothing, so that registering this collector queries no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._database.reading() as session:
            counts = webhooks.counts(session)
            waited = webhooks.longest_wait(session)
        help_text = f"Deliveries of webhooks that are kept, by status, {webhooks.MAX_COUNTED} at most; dead: given up."
        deliveries = GaugeMetricFamily("graftwork_webhook_deliveries", help_text, labels=("status",))
        for status, number in counts.items():
            deliveries.add_metric((status,), number)
        yield deliveries
        help_text = "Seconds since the oldest pending delivery of a webhook was queued; 0 if there is none."
        yield GaugeMetricFamily("graftwork_webhook_oldest_pending_seconds", help_text, value=waited)


class _Rings(Collector):
    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        help_text = "Rings that did not reach the broker; the sweeper rings again."
        yield CounterMetricFamily("graftwork_ring_failures", help_text, value=self._queue.failures)


class _Jobs(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Describe nothing, so that registering this collector queries no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._database.reading() as session:
            yield from _queue(session)
            yield from _attempts(session)
            yield _steps(session)
            yield _estimates(session)


def _queue(session: Session) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("graftwork_jobs", "Jobs that have not ended.", labels=("kind", "status"))
    for kind, status, number in repository.count_unfinished(session):
        jobs.add_metric((kind, status), number)
    yield jobs
    waits = lease.longest_waits(session)
    help_text = "Seconds since the oldest job that a worker could start was queued; 0 if there is none."
    yield GaugeMetricFamily("graftwork_oldest_queued_job_seconds", help_text, value=max(waits.values()))
    help_text = "The same by the device that the job asks for; auto: any worker may start it."
    by_device = GaugeMetricFamily("graftwork_queue_seconds", help_text, labels=("device",))
    for device, waited in waits.items():
        by_device.add_metric((device,), waited)
    yield by_device
    seen = GaugeMetricFamily("graftwork_workers", "Workers seen recently, by kind of device.", labels=("device",))
    for device, number in workers.count_seen(session).items():
        seen.add_metric((device,), number)
    yield seen


def _attempts(session: Session) -> Iterator[Metric]:
    """Attempts by ending; an attempt that lost its lease ended `silent`."""
    help_text = "Attempts of jobs by how they ended, including those that were followed by another."
    ended = CounterMetricFamily("graftwork_attempts", help_text, labels=("ending",))
    for ending, number in sorted(history.read_total(session, history.ATTEMPTS).items()):
        ended.add_metric((ending,), number)
    yield ended


def _steps(session: Session) -> Metric:
    """Mean over the running jobs of a kind, from the remaining time and steps that they report."""
    help_text = "Seconds per training step of the running jobs."
    steps = GaugeMetricFamily("graftwork_step_seconds", help_text, labels=("kind",))
    seconds_by_kind: dict[str, list[float]] = {}
    for kind, progress in repository.running_progress(session):
        if progress is None or progress["eta_seconds"] is None:
            continue
        left = progress["total_steps"] - progress["step"]
        if left > 0 and progress["fraction"] < 1:  # one that stopped early has steps left, and takes none of them
            seconds_by_kind.setdefault(kind, []).append(progress["eta_seconds"] / left)
    for kind, seconds in seconds_by_kind.items():
        steps.add_metric((kind,), sum(seconds) / len(seconds))
    return steps


def _estimates(session: Session) -> Metric:
    """Quantiles of actual over estimated seconds: above 1 where trainings took longer than estimated."""
    help_text = f"Actual over estimated seconds of trainings by the newest {estimates.MAX_ERRORS} estimates."
    errors = estimates.errors(session)
    ratios = GaugeMetricFamily("graftwork_estimate_ratio", help_text, labels=("quantile",))
    if errors:
        for quantile, value in zip(("0.1", "0.5", "0.9"), np.quantile(errors, (0.1, 0.5, 0.9)), strict=True):
            ratios.add_metric((quantile,), float(value))
    return ratios
