"""Measures the job queue under load on PostgreSQL: `python -m bench.jobs`.

Times submits over HTTP, and claims, with 100, 1,000 and 10,000 jobs queued; submits while the broker hangs; and a burst
of 1,000 submits within a second, after which it checks that the database has every accepted job.
"""

import asyncio
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, insert, select

from app.cli.prepare import prepare
from app.db.session import Database
from app.db.tables import EventRow, JobRow
from app.jobs import lease as leases
from app.jobs.states import TERMINAL
from app.kit.ids import new_id
from app.settings import Settings
from tests.support.servers import KEY, Postgres, Service, service, valkey
from tests.support.work import run_jobs

SIZES = (100, 1_000, 10_000)
SUBMITS, CLAIMS, BURST = 300, 300, 1_000
HEADERS = {"Authorization": f"Bearer {KEY}"}


def main() -> None:
    """Run all measurements and print them."""
    postgres = Postgres(durable=True)
    try:
        with valkey() as broker, tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
            url = postgres.url(postgres.create())
            options: dict[str, Any] = {"database_url": url, "bootstrap_key": KEY, "max_queued_jobs": 1_000_000}
            settings = Settings(data=Path(scratch) / "data", broker_url=broker, **options)
            prepare(settings, invent_key=False)
            options["broker_url"] = broker
            with api(Path(scratch), **options) as running:
                body = request(running, settings)
                measure_sizes(running, settings, body)
                burst(running, settings, body)
            with hung_listener() as hung, api(Path(scratch), **{**options, "broker_url": hung}) as running:
                median, _, longest = submit_times(running, body, 60, unmeasured=0)
                print(f"broker hung: submit p50 {median:.0f} ms, longest {longest:.0f} ms (target: under 1,000)")
    finally:
        postgres.stop()


@contextmanager
def api(folder: Path, **options: Any) -> Iterator[Service]:
    """Run the API without a worker, so that queued jobs stay queued."""
    with service(folder, **options) as running:
        running.run("api", "--port", str(running.port))
        running.wait_ready()
        yield running
        running.stop(signal.SIGKILL)


def request(running: Service, settings: Settings) -> dict[str, Any]:
    """Prepare a dataset, and return the body of a request for a pretraining on it."""
    with running.client() as client:
        dataset = client.datasets.create(
            {"x": np.random.default_rng(0).normal(size=(100, 8)).astype("f4")}, name="rows", wait=False
        )
        run_jobs(settings)
        return {"kind": "pretraining", "dataset": dataset["id"], "training": {"steps": 1}}


def measure_sizes(running: Service, settings: Settings, body: dict[str, Any]) -> None:
    """Print the times at each length of the queue, and their ratios to those of the shortest queue."""
    database = Database(settings.sql_url)
    first: tuple[float, float] | None = None
    for size in SIZES:
        fill(database, size)
        _, p99, _ = submit_times(running, body, SUBMITS)
        rate = claim_rate(database)
        first = first or (p99, rate)
        ratios = f"{p99 / first[0]:.2f} and {first[1] / rate:.2f} times those at {SIZES[0]}"
        print(f"{size:>6} queued: submit p99 {p99:.1f} ms, {rate:.0f} claims and ends a second ({ratios})")
    database.close()


def fill(database: Database, size: int) -> None:
    """Insert rows of queued jobs until there are `size`."""
    with database.writing() as session:
        template = session.scalars(select(JobRow).where(JobRow.kind == "preparation")).one()
        missing = size - session.scalar(select(func.count()).where(JobRow.status == "queued"))  # type: ignore[operator]
        fixed = {"project_id": template.project_id, "kind": "pretraining", "status": "queued", "job_metadata": {}}
        times = {"created_at": time.time(), "queued_at": time.time()}
        jobs = [{"id": new_id("job"), "config": {}, **fixed, **times} for _ in range(missing)]
        if jobs:
            queued = {"seq": 1, "level": "info", "type": "job.queued", "message": "Queued.", "data": {}}
            session.execute(insert(JobRow), [{**job, "last_seq": 1} for job in jobs])
            session.execute(insert(EventRow), [{"job_id": job["id"], "created_at": 0.0, **queued} for job in jobs])


def submit_times(
    running: Service, body: dict[str, Any], count: int, unmeasured: int = 10
) -> tuple[float, float, float]:
    """Return median, p99 and maximum of `count` sequential submits, in milliseconds."""
    milliseconds = []
    with httpx.Client(base_url=running.url, headers=HEADERS, trust_env=False, timeout=60) as client:
        for number in range(unmeasured + count):
            started_at = time.perf_counter()
            client.post("/v1/jobs", json=body, headers={"Idempotency-Key": new_id("key")}).raise_for_status()
            if number >= unmeasured:
                milliseconds.append(1000 * (time.perf_counter() - started_at))
    return statistics.median(milliseconds), float(np.percentile(milliseconds, 99)), max(milliseconds)


def claim_rate(database: Database) -> float:
    """Return how many jobs per second one process claims and finishes."""
    started_at = time.perf_counter()
    for _ in range(CLAIMS):
        with database.writing() as session:
            lease = leases.claim(session, "bench", 60)
        if lease is None:
            sys.exit("nothing is queued")
        with database.writing() as session:
            leases.move(session, lease, "running")
            leases.move(session, lease, "finalizing")
            leases.finish(session, lease, "succeeded", "Done.")
    return CLAIMS / (time.perf_counter() - started_at)


def burst(running: Service, settings: Settings, body: dict[str, Any]) -> None:
    """Send BURST submits within a second, and check that every accepted one is in the database."""
    database = Database(settings.sql_url)
    answers = asyncio.run(_send_all(running, body))
    with database.reading() as session:
        kept = {row.job_metadata.get("burst") for row in session.scalars(select(JobRow)) if row.status not in TERMINAL}
    database.close()
    codes = Counter(code for code, _ in answers.values())
    accepted = {key for key, (code, _) in answers.items() if code == httpx.codes.ACCEPTED}
    slowest = max(seconds for _, seconds in answers.values())
    print(f"burst of {BURST}: answers {dict(codes)}, slowest {slowest:.1f} s; accepted and lost {len(accepted - kept)}")


async def _send_all(running: Service, body: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """Return the status code and the seconds of each submit, by the key in its metadata."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    answers: dict[str, tuple[int, float]] = {}
    async with httpx.AsyncClient(
        base_url=running.url, headers=HEADERS, trust_env=False, timeout=120, limits=limits
    ) as client:

        async def submit(number: int) -> None:
            await asyncio.sleep(number / BURST)
            started_at, key = time.perf_counter(), str(number)
            answer = await client.post("/v1/jobs", json={**body, "metadata": {"burst": key}})
            answers[key] = (answer.status_code, time.perf_counter() - started_at)

        await asyncio.gather(*(submit(number) for number in range(BURST)))
    return answers


@contextmanager
def hung_listener() -> Iterator[str]:
    """Listen as a broker that accepts connections and never answers; yields its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        connections = []  # kept open

        def accept() -> None:
            try:
                while True:
                    connections.append(server.accept())
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


if __name__ == "__main__":
    main()
