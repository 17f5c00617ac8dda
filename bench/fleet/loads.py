"""What a fleet asks of its database each second: each transaction is timed, and multiplied by how often it comes.

Measured: statements and seconds of one transaction, with so many workers at work and so many jobs queued. Modelled: how
often it comes, by the intervals of the workers' loops.
"""

from collections.abc import Callable
from itertools import count

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from app.db.tables import AttemptRow, EventRow, JobRow, ProjectRow
from app.jobs import gangs, queueing, workers
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.jobs.interface import JobColumns
from app.jobs.sweeper import RING_AGAIN_SECONDS
from app.queue import MemoryQueue
from app.settings import Settings
from bench.fleet.clock import Meter
from bench.fleet.simulation import BEAT_SECONDS
from bench.fleet.workload import KINDS, Workload

_SETTINGS = Settings()
_NUMBERS = count()
_PROJECTS = 20
_REPEATS = 30
_MEAN_HOURS = 12.0
_SHORT_POLL_SECONDS = 1.0  # of worker.process.supervisor
CPU, GPUS = KINDS[0].devices, KINDS[-1].devices


def fill(meter: Meter, running: int, queued: int, device: str = "cuda", devices: int = 8) -> list[Lease]:
    """Empty the database; put in workers that live and work, and a queue; return the leases of the jobs that run."""
    with meter.transaction("filling") as session:
        for table in (AttemptRow, EventRow, JobRow, ProjectRow):
            session.execute(delete(table))
        names = [f"p{number}" for number in range(_PROJECTS)]
        session.execute(insert(ProjectRow), [{"id": name, "name": name, "created_at": 0.0} for name in names])
        rows = [_row(number, "preparing", owner=f"w{number}", lease_until=1e9, token=1) for number in range(running)]
        rows += [_row(running + n, "queued", device=device, devices=devices) for n in range(queued)]
        for start in range(0, len(rows), 10_000):
            session.execute(insert(JobRow), rows[start : start + 10_000])
    for number in range(running):
        with meter.transaction("filling") as session:
            workers.sign_in(session, f"w{number}", GPUS)
    with meter.database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    return [Lease(job_id=row["id"], token=1, attempt=1) for row in rows[:running]]


def _row(number: int, status: str, **fields: object) -> dict[str, object]:
    fixed = {"kind": "pretraining", "config": {}, "job_metadata": {}, "created_at": 0.0, "queued_at": 0.0}
    own = {"id": f"job_{number:032x}", "project_id": f"p{number % _PROJECTS}", "status": status}
    every = {"owner": None, "lease_until": None, "token": 0, "device": "auto", "devices": 1}
    return {**fixed, **every, **own, **fields}


def time_each(meter: Meter, kind: str, action: Callable[[Session], object], repeats: int = _REPEATS) -> None:
    """Run a transaction as often, after one that is not counted: statements are compiled then."""
    for repeat in range(repeats + 1):
        with meter.transaction("warming" if repeat == 0 else kind) as session:
            action(session)


def measure(meter: Meter, running: int, queued: int) -> dict[str, float]:
    """Time each transaction; return how often a second each comes with so many workers, all of them at work."""
    held = fill(meter, running, queued)
    lease, seconds = held[0], _SETTINGS.lease_seconds
    queue, columns = MemoryQueue(), JobColumns(kind="pretraining", config={"resources": {"device": "cpu"}})

    def beat(session: Session) -> None:
        leases.beat(session, lease, 1e9)
        gangs.preempt(session, lease, "w0", seconds, GPUS)
        leases.activity(session, lease)

    def sweep(session: Session) -> None:
        leases.sweep(session, _SETTINGS.max_attempts, _SETTINGS.backoff_seconds)
        leases.waiting(session, RING_AGAIN_SECONDS)

    def poll(session: Session) -> None:
        gangs.take_seat(session, "idle", seconds, CPU)
        leases.claim(session, "idle", seconds, CPU)

    time_each(meter, "heartbeat", beat)
    time_each(meter, "sign in", lambda session: workers.sign_in(session, "w0", GPUS))
    time_each(meter, "sweep", sweep)
    time_each(meter, "short lane's look", lambda session: leases.has_claimable(session, GPUS, "short"))
    time_each(meter, "poll in vain", poll)
    time_each(meter, "submit", lambda session: queueing.enqueue(session, queue, "p0", columns))
    claimed: list[Lease] = []

    def claim(session: Session) -> None:
        gangs.take_seat(session, "w", seconds, CPU)
        right = leases.claim(session, "w", 1e9, CPU)
        assert right is not None
        claimed.append(right)

    def end(session: Session) -> None:
        own = claimed.pop()
        leases.move(session, own, "running")
        leases.move(session, own, "finalizing")
        leases.finish(session, own, "succeeded", "Done.")

    time_each(meter, "claim", claim)
    time_each(meter, "end", end)
    jobs = Workload(running, 1.0).load * running / (_MEAN_HOURS * 3600)
    return {
        "short lane's look": running / _SHORT_POLL_SECONDS,
        "heartbeat": running / BEAT_SECONDS,
        "sign in": running / _SETTINGS.sweep_seconds,
        "sweep": running / _SETTINGS.sweep_seconds,
        "poll in vain": 0.2 * running / _SETTINGS.poll_seconds,
        "submit": jobs,
        "claim": jobs,
        "end": jobs,
    }


def claim_times(meter: Meter, queued: int) -> tuple[float, float]:
    """Return the milliseconds of a claim with so many jobs queued: by a worker that runs them, and by another."""
    fill(meter, 100, queued, "cuda", 8)
    names = f"claim of {queued}", f"in vain of {queued}"
    time_each(meter, names[0], lambda session: leases.claim(session, "w", 1e9, GPUS))
    time_each(meter, names[1], lambda session: leases.claim(session, "w", 1e9, CPU))
    hit, miss = (1000 * meter.costs[name].seconds / meter.costs[name].transactions for name in names)
    return hit, miss


def wake_all(meter: Meter, workers_idle: int, jobs: int) -> tuple[float, float]:
    """Let idle workers claim at the same time, one after the other as the database makes them; some for nothing.

    Returns the seconds until the last one has its answer, and the seconds with as many jobs as workers.
    """
    seconds = []
    for queued in (jobs, workers_idle):
        fill(meter, 0, queued, "cpu", 1)
        name = f"herd {queued} {next(_NUMBERS)}"
        for number in range(workers_idle):
            with meter.transaction(name) as session:
                gangs.take_seat(session, f"w{number}", 60, CPU)
                leases.claim(session, f"w{number}", 1e9, CPU)
        seconds.append(meter.costs[name].seconds)
    return seconds[0], seconds[1]
