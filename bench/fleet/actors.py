"""Who acts in a simulated fleet: workers, and their attempts at jobs."""

from dataclasses import dataclass, field

from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from bench.fleet.workload import Job, WorkerKind


@dataclass(eq=False)
class Worker:
    """A worker, which is another one after each restart."""

    number: int
    kind: WorkerKind
    life: int = 0
    lives: bool = True
    attempt: "Attempt | None" = None
    seat: Seat | None = None  # of a gang that another worker leads
    reserved: "tuple[Seat, Attempt] | None" = None  # the seat for which it leaves its job
    since: float = 0.0  # when it began what it does

    @property
    def name(self) -> str:
        """Return its id, which is new with each process."""
        return f"worker-{self.number}:{self.life}"


@dataclass(eq=False)
class Attempt:
    """An attempt at a job by a worker, or by the leader of a gang."""

    job: Job
    lease: Lease
    leader: Worker
    members: set[Worker] = field(default_factory=set)
    began: float | None = None  # when the training began
    size: int = 1
    is_over: bool = False  # its training has stopped, or will never begin

    @property
    def trained(self) -> float:
        """How many of a job's seconds this attempt does in each second."""
        return self.size / self.job.nodes
