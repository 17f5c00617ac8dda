"""Measures a service of many rows against one with a page of each, side by side: `python -m bench.scale`.

Fills a database (10^6 models and the ended jobs that made them, 10^5 queued jobs, 10^7 events, 10^4 datasets, half of
it one project's) and another with one page of each, starts an API on each, and lets 200 clients ask both the routes
that people use: p50, p99 and their ratios, for the large project, and for a small project in the same database. Then
the lease protocol by itself. `--factor 0.01` fills a hundredth of it; `--alone 20` asks route after route first, which
shows what a route costs where nobody else asks.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.prepare import prepare
from app.db.session import Database
from app.db.tables import DatasetRow, JobRow, ModelRow, ProjectRow
from app.jobs import lease as leases
from app.jobs.sweeper import RING_AGAIN_SECONDS
from app.keys.service import first_key
from app.settings import Settings
from app.storage.repository import references
from bench.scale.asking import Target, Times, alone, quantiles, routes, together
from bench.scale.filling import FULL, PAGE, Filler, Sizes, Template
from tests.support.servers import KEY, Postgres, Service, service
from tests.support.work import run_jobs

SMALL_KEY = "a-key-of-a-small-project-0123456789abcdef"
OTHERS = 19  # projects that share what the large one does not have
TARGET = 2.0
ROUNDS = 100  # of each statement of the lease protocol


@dataclass(frozen=True, slots=True)
class Filled:
    """A running service, its settings and the ids of its template."""

    running: Service
    settings: Settings
    template: Template


@contextmanager
def started(folder: Path, url: str) -> Iterator[Filled]:
    """Start an API without workers, and make the rows that are copied."""
    options = {"max_queued_jobs": 10_000_000, "quota_bytes": 1 << 60, "bootstrap_key": KEY, "gc_seconds": 0}
    settings = Settings(data=folder / "data", database_url=url, **options)  # type: ignore[arg-type]
    prepare(settings, invent_key=False)
    with service(folder, **options, **({"database_url": url} if url else {})) as running:
        running.run("api", "--port", str(running.port))
        running.wait_ready()
        yield Filled(running, settings, _template(running, settings))


def _template(running: Service, settings: Settings) -> Template:
    generator = np.random.default_rng(0)
    rows = {"x": generator.normal(size=(100, 8)).astype("f4"), "y": np.repeat([0, 1], 50)}
    heads = [{"kind": "classifier", "target": "label"}]
    with running.client() as client:
        dataset = client.datasets.create(rows, name="rows", wait=False)["id"]
        run_jobs(settings)
        job = client.jobs.create(
            kind="fine_tuning", dataset=dataset, name="reader", heads=heads, training={"steps": 5}, wait=False
        )
        run_jobs(settings)
        model = client.models.get("reader")["id"]
    database = Database(settings.sql_url)
    with database.reading() as session:
        project = session.get_one(JobRow, job["id"]).project_id
    database.close()
    return Template(project, job["id"], model, dataset)


def targets_of(filled: Filled, title: str, key: str, project: str) -> Target:
    """Return what is asked of a project of a service."""
    database = Database(filled.settings.sql_url)
    with database.reading() as session:
        model, job, queued = (
            _middle(session, select(row.id).where(row.project_id == project, *conditions).order_by(row.id))
            for row, conditions in (
                (ModelRow, (ModelRow.name != "reader",)),
                (JobRow, (JobRow.status == "succeeded",)),
                (JobRow, (JobRow.status == "queued",)),
            )
        )
        dataset = session.scalars(select(DatasetRow).where(DatasetRow.project_id == project).limit(1)).one()
        ended = session.get_one(JobRow, job)
        names = {
            "model": model,
            "middle_model": model,
            "name": session.get_one(ModelRow, model).name,
            "job": job,
            "middle_job": job,
            "job_name": ended.name or "",
            "moment": f"{ended.created_at:.3f}",
            "queued": queued,
            "dataset": dataset.id,
            "dataset_name": dataset.name,
            "real_dataset": filled.template.dataset if project == filled.template.project else dataset.id,
            "real_model": "reader" if project == filled.template.project else session.get_one(ModelRow, model).name,
        }
    database.close()
    return Target(title, filled.running.url, key, routes(names, [[0.5] * 8]))


def _middle(session: Session, ids: object) -> str:
    """Return an id in the middle of a page or of a hundred thousand."""
    listed = list(session.scalars(ids.limit(100_000)))  # type: ignore[attr-defined]
    return str(listed[len(listed) // 2])


def small_project(filled: Filled) -> str:
    """Make a project of one page beside the large one, and return its id."""
    database = Database(filled.settings.sql_url)
    with database.writing() as session:
        first_key(session, "small", SMALL_KEY, invent=False)
    with database.reading() as session:
        row = session.scalars(select(ProjectRow).where(ProjectRow.name == "small")).one()
    Filler(database, filled.template, 0, tag=1).fill(PAGE, row.id)
    database.close()
    return row.id


def print_times(title: str, times: Times, base: str, others: list[str]) -> None:
    """Print p50 and p99 of each route that every target was asked, and the ratios to those of the base."""
    print(f"\n{title}: p50 and p99 in ms, and their ratios to those of a service with one page of each")
    print("| route | one page | " + " | ".join(f"{name} | p50 | p99" for name in others) + " |")
    print("|---" * (2 + 3 * len(others)) + "|")
    worst = 0.0
    asked = dict.fromkeys(route for _, route in times)
    for route in (route for route in asked if all((name, route) in times for name in (base, *others))):
        small = quantiles(times[base, route])
        cells = [f"{small[0]:.1f}, {small[1]:.1f}"]
        for name in others:
            large = quantiles(times[name, route])
            ratios = large[0] / small[0], large[1] / small[1]
            worst = max(worst, ratios[1])
            cells += [f"{large[0]:.1f}, {large[1]:.1f}", *(f"{ratio:.2f}{'!' * (ratio > TARGET)}" for ratio in ratios)]
        print(f"| {route} | " + " | ".join(cells) + " |", flush=True)
    print(f"largest ratio of p99: {worst:.2f} (target: {TARGET:g})")


def protocol(filled: dict[str, Filled]) -> None:
    """Print what the statements of the lease protocol take on each database, in turns."""
    databases = {name: Database(each.settings.sql_url) for name, each in filled.items()}
    steps: dict[str, Callable[[Database], float]] = {
        "claim": _claim,
        "claim of the short lane, nothing there": lambda database: _timed(
            database, lambda session: leases.claim(session, "bench", 60, lane="short")
        ),
        "claim where no job fits": lambda database: _timed(
            database, lambda session: leases.claim(session, "bench", 60, {"cuda": 0})
        ),
        "beat": _beat,
        "sweep": lambda database: _timed(database, lambda session: leases.sweep(session, 3)),
        "is a ring missing": lambda database: _timed(
            database, lambda session: leases.waiting(session, RING_AGAIN_SECONDS)
        ),
    }
    print("\nlease protocol: p50 and p99 in ms")
    for title, step in steps.items():
        times: dict[str, list[float]] = {name: [] for name in databases}
        for _ in range(ROUNDS):
            for name, database in databases.items():
                times[name].append(step(database))
        (_, base), (_, large) = times.items()
        ratio = quantiles(large)[1] / quantiles(base)[1]
        words = ", ".join(f"{name} {quantiles(each)[0]:.1f} {quantiles(each)[1]:.1f}" for name, each in times.items())
        print(f"{title}: {words}; p50 {statistics.median(large) / statistics.median(base):.2f}, p99 {ratio:.2f} times")
    for database in databases.values():
        database.close()


def named_files(settings: Settings) -> None:
    """Print what garbage collection takes to read which files rows name, but for listing the store."""
    database = Database(settings.sql_url)
    began, cpu = time.perf_counter(), time.process_time()
    with database.reading() as session:
        owners = {reference.key: reference.row for reference in references(session, settings.gc_grace_seconds)}
    database.close()
    taken, own = time.perf_counter() - began, time.process_time() - cpu
    print(f"\ngarbage collection reads the names of {len(owners)} files in {taken:.1f} s, {own:.1f} of its own CPU")


def _timed(database: Database, action: Callable[[Session], object]) -> float:
    began = time.perf_counter()
    database.transact(action)
    return 1000 * (time.perf_counter() - began)


def _claim(database: Database) -> float:
    held: list[leases.Lease | None] = []
    milliseconds = _timed(database, lambda session: held.append(leases.claim(session, "bench", 60)))
    _give_back(database, held[0])
    return milliseconds


def _beat(database: Database) -> float:
    lease = database.transact(lambda session: leases.claim(session, "bench", 60))
    assert lease is not None
    milliseconds = _timed(database, lambda session: leases.beat(session, lease, 60))
    _give_back(database, lease)
    return milliseconds


def _give_back(database: Database, lease: leases.Lease | None) -> None:
    assert lease is not None
    database.transact(lambda session: leases.requeue(session, lease, "Given back.", charged=False))


def measure(name: str, urls: tuple[str, str], options: argparse.Namespace, folder: Path) -> None:
    """Fill, ask and print, on one kind of database."""
    sizes: Sizes = FULL.scaled(options.factor)
    with started(folder / "page", urls[0]) as page, started(folder / "many", urls[1]) as many:
        began = time.perf_counter()
        for filled, size, owner in ((page, PAGE, page.template.project), (many, sizes, None)):
            database = Database(filled.settings.sql_url)
            Filler(database, filled.template, OTHERS).fill(size, owner)
            database.close()
        small = small_project(many)
        print(f"\n## {name}: {sizes}, filled in {time.perf_counter() - began:.0f} s", flush=True)
        targets = [
            targets_of(page, "one page", KEY, page.template.project),
            targets_of(many, "large project", KEY, many.template.project),
            targets_of(many, "small project beside it", SMALL_KEY, small),
        ]
        titles = [target.title for target in targets[1:]]
        if options.alone:
            times = asyncio.run(alone(targets, options.alone, searches=False))
            print_times("Route after route", times, "one page", titles)
        if options.seconds:
            times = asyncio.run(together(targets, options.seconds, options.rate))
            print_times(f"200 clients, {options.rate:g} requests a second", times, "one page", titles)
        protocol({"one page": page, "many": many})
        times = asyncio.run(alone(targets, 1, searches=True))
        print_times("Searches, each once and alone", times, "one page", titles)
        named_files(many.settings)
        if options.keep:
            print(many.settings.sql_url, page.settings.sql_url, many.running.url, page.running.url, flush=True)
            input("The services run on; press Enter to end them. ")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=1.0, help="part of the rows that are filled in")
    parser.add_argument("--databases", default="PostgreSQL,SQLite")
    parser.add_argument("--alone", type=int, default=0, help="ask route after route so many times first")
    parser.add_argument("--seconds", type=float, default=120, help="for how long the clients ask")
    parser.add_argument("--rate", type=float, default=40, help="requests a second of all clients together")
    parser.add_argument("--keep", action="store_true", help="let the services run at the end, to look at plans")
    options = parser.parse_args()
    for name in options.databases.split(","):
        with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
            if name == "SQLite":
                measure(name, ("", ""), options, Path(scratch))
                continue
            postgres = Postgres(durable=True)
            try:
                urls = (postgres.url(postgres.create()), postgres.url(postgres.create()))
                measure(name, urls, options, Path(scratch))
            finally:
                postgres.stop()


if __name__ == "__main__":
    main()
