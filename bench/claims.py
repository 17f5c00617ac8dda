"""Measures how many jobs a second several workers claim: `python -m bench.claims [--jobs 600] [--workers 1,2,4]`.

Claims follow each other on either database, so that turns and caps hold: more workers wait for each other. Each worker
is a process that claims until nothing is queued; on PostgreSQL (fsync on) and on SQLite, with the queue of one project
and of twenty. Also printed is the same with the job's end, which workers write side by side.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.cli.prepare import prepare
from app.db.session import Database
from app.db.tables import EventRow, JobRow, ProjectRow
from app.jobs import lease as leases
from app.kit.ids import new_id
from app.settings import Settings
from tests.support.servers import KEY, Postgres

ASKED = 150
_SPAWN = multiprocessing.get_context("spawn")


def claim_all(url: str, ready: Any, results: Any, *, ends: bool) -> None:
    """Claim until nothing is queued; put how many were claimed, and the CPU seconds that took."""
    with closing(Database(url)) as database:
        with database.reading() as session:
            leases.has_claimable(session, leases.ONE_EACH, "long")  # connected, and statements made
        ready.wait()
        claimed, cpu = 0, time.process_time()
        while True:
            with database.writing() as session:
                lease = leases.claim(session, "bench", 60)
            if lease is None:
                break
            claimed += 1
            if ends:
                with database.writing() as session:
                    leases.move(session, lease, "running")
                    leases.move(session, lease, "finalizing")
                    leases.finish(session, lease, "succeeded", "Done.")
        results.put((claimed, time.process_time() - cpu))


def fill(database: Database, count: int, projects: int) -> None:
    """Queue so many jobs, dealt out to so many new projects."""
    now = time.time()
    ids = [new_id("proj") for _ in range(projects)]
    fixed = {"kind": "pretraining", "status": "queued", "job_metadata": {}, "config": {}, "last_seq": 1}
    jobs = [
        {"id": new_id("job"), "project_id": ids[number % projects], "created_at": now, "queued_at": now, **fixed}
        for number in range(count)
    ]
    queued = {"seq": 1, "level": "info", "type": "job.queued", "message": "Queued.", "data": {}, "created_at": now}
    with database.writing() as session:
        session.execute(insert(ProjectRow), [{"id": each, "name": each, "created_at": now} for each in ids])
        session.execute(insert(JobRow), jobs)
        session.execute(insert(EventRow), [{"job_id": job["id"], **queued} for job in jobs])


def rate(url: str, workers: int, count: int, projects: int, *, ends: bool) -> str:
    """Return claims a second, and the CPU milliseconds of the workers for each."""
    with closing(Database(url)) as database:
        fill(database, count, projects)
    ready, results = _SPAWN.Barrier(workers + 1), _SPAWN.Queue()
    processes = [
        _SPAWN.Process(target=claim_all, args=(url, ready, results), kwargs={"ends": ends}) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait(120)
    began = time.perf_counter()
    claimed, cpu = (sum(column) for column in zip(*(results.get(timeout=300) for _ in processes), strict=True))
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    assert claimed == count, f"{claimed} of {count} jobs were claimed"
    return f"{count / seconds:.0f} ({1000 * cpu / count:.1f})"


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URLs of new databases by name."""
    postgres = Postgres(durable=True)
    try:
        urls = {}
        for name, options in (("PostgreSQL", {"database_url": postgres.url(postgres.create())}), ("SQLite", {})):
            settings = Settings(data=folder / name, bootstrap_key=KEY, **options)
            prepare(settings, invent_key=False)
            urls[name] = settings.sql_url
        yield urls
    finally:
        postgres.stop()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--workers", default="1,2,4")
    options = parser.parse_args()
    counts = [int(number) for number in options.workers.split(",")]
    print(f"Claims a second (asked: {ASKED}), with the workers' CPU ms for each")
    print("| | " + " | ".join(f"{count} worker{'s' * (count > 1)}" for count in counts) + " |")
    print("|---" * (len(counts) + 1) + "|")
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch, databases(Path(scratch)) as urls:
        for name, url in urls.items():
            for projects, ends in ((1, False), (20, False), (20, True)):
                words = f"{name}, {projects} project{'s' * (projects > 1)}{', claims and ends' * ends}"
                cells = [rate(url, count, options.jobs, projects, ends=ends) for count in counts]
                print(f"| {words} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
