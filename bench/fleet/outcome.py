"""What came of a simulated fleet: how busy it was, how long jobs waited, and what failures cost."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from bench.fleet.actors import Attempt, Worker
from bench.fleet.workload import DAY, Job, WorkerKind, Workload

_UNMEASURED = 0.2  # share of the days in which the empty fleet fills up


class Outcome:
    """Counts of one run; times and jobs of the first fifth, in which the fleet fills up, are left out."""

    def __init__(self, load: Workload, workers: Sequence[Worker]) -> None:
        self.load = load
        self.start, self.end = _UNMEASURED * load.days * DAY, load.days * DAY
        self.jobs: list[Job] = []
        self._workers = workers
        self.deaths = self.missed = self.rung_in_vain = self.preempted = 0
        self._seconds: defaultdict[WorkerKind, float] = defaultdict(float)  # that there were, by kind of worker
        self._busy: defaultdict[WorkerKind, float] = defaultdict(float)
        self._used: defaultdict[WorkerKind, float] = defaultdict(float)  # GPU seconds
        self.worker_seconds = self.trained = self.lost = self.gathering = 0.0
        for worker in workers:
            self._seconds[worker.kind] += self.end - self.start

    def leave(self, worker: Worker, now: float) -> None:
        """Count that a worker leaves what it has done since `worker.since`."""
        self._busy[worker.kind] += max(0.0, now - max(worker.since, self.start))

    def train(self, attempt: Attempt, seconds: float, lost: float) -> None:
        """Count a training that ends now, after so many seconds, some of which were for nothing."""
        assert attempt.began is not None
        share = min(1.0, max(0.0, attempt.began + seconds - self.start) / max(seconds, 1e-9))
        job = attempt.job
        for worker in (attempt.leader, *attempt.members):
            self.trained += seconds * share
            self.lost += lost * share
            if job.device != "cpu" and "cuda" in worker.kind.devices:
                self._used[worker.kind] += seconds * share * job.devices

    def gather(self, gang: Attempt, now: float) -> None:
        """Count the time for which the workers of a gang waited for each other, whether or not all came."""
        if now >= self.start:
            here = (worker for worker in (gang.leader, *gang.members) if worker.attempt is gang)
            self.gathering += sum(now - worker.since for worker in here)

    @property
    def measured(self) -> list[Job]:
        """The jobs that arrived once the fleet was full, but for those that it is too small for."""
        return [job for job in self.jobs if job.arrived >= self.start and self._can_run(job)]

    @property
    def too_large(self) -> int:
        """The number of jobs of more nodes than the fleet has workers for."""
        return sum(not self._can_run(job) for job in self.jobs)

    def _can_run(self, job: Job) -> bool:
        return sum(worker.kind.runs(*job.shape) for worker in self._workers) >= job.nodes

    def wait(self, job: Job) -> float:
        """Return for how many seconds a job waited until it first trained; one that waits still, until the end."""
        return (self.end if job.started is None else job.started) - job.arrived

    def busy(self, kind: WorkerKind | None = None) -> float:
        """Return the share of the time for which workers of a kind, or all, had a job or a seat."""
        kinds = list(self._seconds) if kind is None else [kind]
        return sum(self._busy[each] for each in kinds) / sum(self._seconds[each] for each in kinds)

    def gpus_used(self, kind: WorkerKind) -> float | None:
        """Return the share of the time for which the GPUs of these workers trained; None where they have none."""
        gpus = kind.devices.get("cuda")
        return self._used[kind] / (self._seconds[kind] * gpus) if gpus else None

    @property
    def kinds(self) -> list[WorkerKind]:
        """The kinds of worker."""
        return list(self._seconds)

    def failed(self) -> int:
        """Return how many jobs failed for the deaths of workers."""
        return sum(job.has_failed for job in self.measured)


def waits(outcome: Outcome, jobs: Iterable[Job]) -> tuple[int, float, float, float, float]:
    """Return how many jobs there are, and the median, p95, p99 and maximum of their waiting times in hours."""
    hours = np.array([outcome.wait(job) for job in jobs]) / 3600
    if not len(hours):
        return 0, 0.0, 0.0, 0.0, 0.0
    median, p95, p99 = np.percentile(hours, (50, 95, 99))
    return len(hours), float(median), float(p95), float(p99), float(hours.max())
