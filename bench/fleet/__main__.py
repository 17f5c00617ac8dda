"""Simulates a fleet under the service's own statements: `python -m bench.fleet [--workers 100] [--days 7]`.

Prints how busy the fleet is, how long jobs wait, what failures and turns change, what the database is asked each second
by 10, 100 and 1,000 workers, and the time of a claim by the length of the queue. `bench.fleet.simulation` says what is
real and what is modelled. `--postgresql` uses a PostgreSQL of its own instead of SQLite in memory.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from app.projects.limits import ProjectLimits
from app.settings import Settings
from bench.fleet import loads
from bench.fleet.clock import Clock, Meter, open_database
from bench.fleet.outcome import Outcome, waits
from bench.fleet.simulation import Fleet
from bench.fleet.workload import HOUR, Job, Workload
from tests.support.servers import Postgres

_SIZES = (10, 100, 1_000)
_QUEUES = (100, 1_000, 10_000, 100_000)
_RUNS: dict[str, dict[str, bool]] = {
    "fair turns, workers die": {},
    "nobody dies": {"has_deaths": False},
    "first come, first served": {"is_fair": False},
}


def table(*head: str) -> None:
    """Print the head of a table."""
    print("\n| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")


def row(*cells: object) -> None:
    """Print a row."""
    print(
        "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def hours(outcome: Outcome, jobs: Sequence[Job]) -> tuple[object, ...]:
    """Return cells: how many jobs, and the median, p95, p99 and maximum of their hours of waiting."""
    number, *others = waits(outcome, jobs)
    return number, *(f"{each:.2f}" for each in others)


def print_runs(runs: dict[str, Outcome]) -> None:
    """Print what the runs have in common side by side."""
    table(
        "run", "jobs", "workers busy", "wait: median h", "p95", "p99", "longest", "deaths", "work lost", "jobs failed"
    )
    for name, outcome in runs.items():
        lost = f"{100 * outcome.lost / outcome.trained:.3f} %"
        cells = hours(outcome, outcome.measured)
        row(name, cells[0], f"{100 * outcome.busy():.0f} %", *cells[1:], outcome.deaths, lost, outcome.failed())


def print_kinds(outcome: Outcome) -> None:
    """Print how busy each kind of worker was."""
    table("worker", "busy", "its GPUs used")
    for kind in outcome.kinds:
        used = outcome.gpus_used(kind)
        row(kind.name, f"{100 * outcome.busy(kind):.0f} %", "" if used is None else f"{100 * used:.0f} %")


def groups(outcome: Outcome) -> Iterator[tuple[str, list[Job]]]:
    """Yield jobs by project, priority, and how many workers they need."""
    jobs = outcome.measured
    last = outcome.load.projects - 1
    for owner in (0, last // 2, last):
        yield f"project {owner + 1} of {last + 1}", [job for job in jobs if job.owner == owner]
    for priority in sorted({job.priority for job in jobs}):
        yield f"priority {priority}", [job for job in jobs if job.priority == priority]
    for devices in (1, 4, 8):
        own = [job for job in jobs if job.nodes == 1 and job.device == "cuda" and job.devices == devices]
        yield f"{devices} GPU{'s' * (devices > 1)}", own
    yield "CPU", [job for job in jobs if job.device == "cpu"]
    gangs = [job for job in jobs if job.nodes > 1]
    yield "gangs of equal or lower priority", [job for job in gangs if job.priority <= 0]
    yield "gangs of higher priority", [job for job in gangs if job.priority > 0]


def print_waits(fair: Outcome, first: Outcome | None) -> None:
    """Print waiting times by group, and those of first come, first served beside them."""
    table("jobs", "number", "median h", "p95", "p99", "longest", "p95 under first come, first served")
    others = dict(groups(first)) if first else {}
    for name, jobs in groups(fair):
        row(name, *hours(fair, jobs), hours(first, others[name])[2] if first else "")


def print_rest(outcome: Outcome) -> None:
    """Print the longest wait, and what gangs cost."""
    job = max(outcome.measured, key=outcome.wait)
    state = "still waits" if job.started is None else "waited"
    print(
        f"\nLongest: {state} {outcome.wait(job) / HOUR:.1f} h, project {job.owner + 1}, priority {job.priority}, "
        f"{job.nodes} x {job.devices} {job.device}, gathered in vain {job.gathered_in_vain} times."
    )
    share = 100 * outcome.gathering / outcome.trained
    print(f"Gangs: waited for each other {share:.2f} % of all worker time; {outcome.preempted} jobs gave way to gangs.")
    print(f"Jobs of more nodes than the fleet has workers for, which are left out: {outcome.too_large}.")
    print(
        f"Rings that woke a worker for nothing: {outcome.rung_in_vain}. Claims that only a poll made: {outcome.missed}."
    )


def print_statements(meter: Meter) -> None:
    """Print what the simulation itself has asked, by kind."""
    table("transaction", "number", "statements each", "CPU ms each")
    for kind, cost in sorted(meter.costs.items(), key=lambda item: -item[1].transactions):
        if cost.transactions:
            row(kind, cost.transactions, cost.statements / cost.transactions, 1000 * cost.seconds / cost.transactions)


def print_loads(meter: Meter) -> None:
    """Print what fleets of several sizes ask of their database each second."""
    head = [f"{size} workers: a second, statements, ms each, cores" for size in _SIZES]
    table("transaction", *head)
    cells: dict[str, list[str]] = {}
    totals: list[str] = []
    for size in _SIZES:
        statements = cores = 0.0
        meter.costs.clear()
        for kind, rate in loads.measure(meter, size, 10 * size).items():
            cost = meter.costs[kind]
            each, seconds = cost.statements / cost.transactions, cost.seconds / cost.transactions
            cells.setdefault(kind, []).append(
                f"{rate:.3g}, {rate * each:.3g}, {1000 * seconds:.2f}, {rate * seconds:.3f}"
            )
            statements += rate * each
            cores += rate * seconds
        totals.append(f"{statements:.0f} statements, {cores:.2f} cores")
    for kind, columns in cells.items():
        row(kind, *columns)
    row("all", *totals)


def print_queues(meter: Meter, longest: int) -> None:
    """Print the time of a claim by the length of the queue, and of many that come at once."""
    table("jobs queued", "claim, ms", "ratio", "claim of a worker that can run none, ms", "ratio")
    first: tuple[float, float] | None = None
    for queued in (queued for queued in _QUEUES if queued <= longest):
        hit, miss = loads.claim_times(meter, queued)
        first = first or (hit, miss)
        row(queued, f"{hit:.2f}", f"{hit / first[0]:.2f}", f"{miss:.2f}", f"{miss / first[1]:.2f}")
    one, many = loads.wake_all(meter, 1_000, 1)
    print(f"\n1,000 idle workers wake at once: for one job {one:.2f} s of CPU until the last has its answer,")
    print(f"for 1,000 jobs {many:.2f} s ({1000 / many:.0f} claims a second).")


@contextmanager
def meters(patience_hours: float, *, uses_postgresql: bool) -> Iterator[Iterator[tuple[Clock, Meter]]]:
    """Yield new databases, each with a clock of its own."""
    server = Postgres() if uses_postgresql else None
    limits = ProjectLimits(patience_seconds=patience_hours * HOUR)

    def fresh() -> Iterator[tuple[Clock, Meter]]:
        while True:
            clock = Clock()
            with closing(open_database(clock, server and server.url(server.create()), limits)) as database:
                yield clock, Meter(database)

    try:
        yield fresh()
    finally:
        if server is not None:
            server.stop()


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--load", type=float, default=0.8, help="what is asked for, as a share of what there is")
    parser.add_argument("--mean-hours", type=float, default=12.0, help="of a job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--patience-hours",
        type=float,
        default=Settings().patience_hours,
        help="waiting after which a job comes before turns; 0: never",
    )
    parser.add_argument("--longest-queue", type=int, default=10_000)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--only", choices=("first run", "runs", "loads"), help="a part of it")
    options = parser.parse_args()
    load = Workload(options.workers, options.days, options.load, options.mean_hours, seed=options.seed)
    with meters(options.patience_hours, uses_postgresql=options.postgresql) as fresh:
        if options.only != "loads":
            print(f"{load}")
            runs: dict[str, Outcome] = {}
            statements: Meter | None = None
            for name, settings in list(_RUNS.items())[: 1 if options.only == "first run" else None]:
                clock, meter = next(fresh)
                runs[name] = Fleet(clock, meter, load, **settings).run()
                statements = statements or meter
            fair, *others = runs.values()
            print_runs(runs)
            print_kinds(fair)
            print_waits(fair, others[-1] if others else None)
            print_rest(fair)
            assert statements is not None
            print_statements(statements)
        if options.only in (None, "loads"):
            clock, meter = next(fresh)
            clock.now = 1000.0
            print_loads(meter)
            print_queues(meter, options.longest_queue)


if __name__ == "__main__":
    main()
