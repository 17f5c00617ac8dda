"""What a fleet has and what it is asked for: kinds of workers, and jobs that arrive over days and weeks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

DAY, HOUR = 86_400.0, 3600.0
WEEK = 7 * DAY
_MAX_JOB = 14 * DAY
_SIGMA = 1.5  # of the logarithm of a job's seconds: one in a hundred takes ten times the mean
_WEEKEND = 0.4
_WEEK_MEAN = (5 + 2 * _WEEKEND) / 7


@dataclass(frozen=True, eq=False)
class WorkerKind:
    """A kind of worker, and its share of the fleet."""

    name: str
    devices: dict[str, int]
    share: float

    def runs(self, device: str, devices: int) -> bool:
        """Whether such a worker can run a job, or a node of it, on so many devices of a kind."""
        usual = self.devices.get("cuda") or self.devices["cpu"]
        return {**self.devices, "auto": usual}.get(device, 0) >= devices


KINDS = (
    WorkerKind("CPU", {"cpu": 1}, 0.50),
    WorkerKind("1 GPU", {"cpu": 1, "cuda": 1}, 0.30),
    WorkerKind("4 GPUs", {"cpu": 1, "cuda": 4}, 0.15),
    WorkerKind("8 GPUs", {"cpu": 1, "cuda": 8}, 0.05),
)
# Share of the jobs, device, devices of each node.
_SHAPES = (
    (0.46, "cpu", 1),
    (0.35, "cuda", 1),
    (0.05, "auto", 1),
    (0.10, "cuda", 4),
    (0.03, "cuda", 8),
    (0.01, "gang", 0),
)
_GANG_NODES, _GANG_DEVICES = (2, 2, 3, 4, 8), (1, 4, 4, 8)
_PRIORITIES = (-10, *[0] * 8, 10)


@dataclass
class Job:
    """A job of the simulation; `owner` is whose it is, `seconds` what it takes on all its nodes."""

    owner: int
    priority: int
    device: str
    devices: int
    nodes: int
    seconds: float
    arrived: float
    done: float = 0.0  # of `seconds`, in checkpoints
    started: float | None = None  # when it first trained
    ended: float | None = None
    deaths: int = 0
    has_failed: bool = False
    gathered_in_vain: int = 0

    @property
    def shape(self) -> tuple[str, int]:
        """The device and the count that each of its nodes needs."""
        return self.device, self.devices


@dataclass(frozen=True)
class Workload:
    """How much is asked for: `load` is the mean of worker-seconds asked for over those that there are."""

    workers: int
    days: float
    load: float = 0.8
    mean_hours: float = 12.0
    projects: int = 20
    seed: int = 1

    def kinds(self) -> list[WorkerKind]:
        """Return the kind of each worker."""
        return [kind for kind in KINDS for _ in range(max(1, round(kind.share * self.workers)))]

    def arrivals(self) -> Iterator[Job]:
        """Yield jobs by their arrival: a Poisson process with a rhythm of days and weeks, thinned from its maximum."""
        random = Random(self.seed)  # noqa: S311 - a simulation
        mean_nodes = 0.99 + 0.01 * sum(_GANG_NODES) / len(_GANG_NODES)
        rate = self.load * self.workers / (self.mean_hours * HOUR * mean_nodes)
        most, now = rate * 1.7 / _WEEK_MEAN, 0.0
        while (now := now + random.expovariate(most)) < self.days * DAY:
            if random.random() * most < rate * _rhythm(now):
                yield self._job(random, now)

    def _job(self, random: Random, now: float) -> Job:
        owners = range(self.projects)
        owner = random.choices(owners, [1 / (1 + each) for each in owners])[0]  # a few projects submit most
        median = self.mean_hours * HOUR / math.exp(_SIGMA**2 / 2)
        seconds = min(random.lognormvariate(math.log(median), _SIGMA), _MAX_JOB)
        priority, nodes = random.choice(_PRIORITIES), 1
        _, device, devices = random.choices(_SHAPES, [shape[0] for shape in _SHAPES])[0]
        if device == "gang":
            device, devices, nodes = "cuda", random.choice(_GANG_DEVICES), random.choice(_GANG_NODES)
        return Job(owner, priority, device, devices, nodes, seconds, now)


def _rhythm(now: float) -> float:
    """How many times the mean arrives at a time: most at noon, least at midnight, less at weekends."""
    day = 1 - 0.7 * math.cos(2 * math.pi * now / DAY)
    return day * (_WEEKEND if now % WEEK >= 5 * DAY else 1.0) / _WEEK_MEAN
