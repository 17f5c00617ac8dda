"""How fast the API says that it lives while 50 clients send it the costliest bodies of 32 MiB each.

    python -m bench.serving.health [--seconds 6] [--kinds objects,lines] [--processes 2]

GET /health/live on one connection, each 20 ms, by a process that does nothing else: while nothing happens (calm), while
as many processes as attack do nothing but compute (busy), and while they attack. Two cores are shared by the API, the
attackers and what measures; busy says what the sharing alone costs.
"""

import argparse
import http.client
import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import select

from app.cli.prepare import prepare
from app.db.tables import ProjectRow
from app.kit.process import free_port
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from bench.service import KEY
from bench.serving.report import print_head, print_row
from bench.serving.server import Server, Target
from tests.support.bodies import KINDS, costly
from tests.support.models import add_model

CLIENTS, BODY_BYTES = 50, 32 << 20
PAUSE_SECONDS = 0.02
_SPAWN = multiprocessing.get_context("spawn")


def probe(port: int, seconds: float, results: Any) -> None:
    """Ask whether the API lives, over and over; put the seconds of each answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken, deadline = [], time.perf_counter() + seconds
    try:
        while time.perf_counter() < deadline:
            began = time.perf_counter()
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            taken.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
    finally:  # what there is, where the API has ended
        results.put(taken)


def compute(_port: int, _kind: str, _clients: int, over: Any, results: Any) -> None:
    """Do nothing but compute until it is over."""
    while not over.is_set():
        for _ in range(100_000):
            pass
    results.put({})


def attack(port: int, kind: str, clients: int, over: Any, results: Any) -> None:
    """Let so many clients send a body over and over until it is over; put how often which status came."""
    content_type, content = costly(kind, BODY_BYTES)
    head = f"POST /v1/models/sizes/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    statuses: Counter[str] = Counter()

    def send() -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(head.encode())
                    connection.sendall(content)
                    statuses[connection.recv(4096)[9:12].decode()] += 1
            except OSError:  # refused before the body was read
                statuses["cut"] += 1

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(dict(statuses))


def add_small_model(folder: Path) -> None:
    """Make the database, its key and a model of three columns."""
    settings = Settings(data=folder, bootstrap_key=KEY)
    prepare(settings, invent_key=False)
    services = create_app(settings, queue=MemoryQueue()).state.services
    with closing(services.database), services.database.reading() as session:
        project_id = session.scalars(select(ProjectRow.id)).one()
        session.rollback()
        add_model(services, project_id, "sizes")


def measure(server: Server, seconds: float, worker: Callable[..., None] | None, kind: str, processes: int) -> list[str]:
    """Return the cells of a row: answers, p50, p99 and largest in ms, the API's CPU, and what attackers were told."""
    over, told, taken = _SPAWN.Event(), _SPAWN.Queue(), _SPAWN.Queue()
    clients = CLIENTS // processes
    count = processes if worker else 0
    workers = [_SPAWN.Process(target=worker, args=(server.port, kind, clients, over, told)) for _ in range(count)]
    prober = _SPAWN.Process(target=probe, args=(server.port, seconds, taken))
    for process in workers:
        process.start()
    time.sleep(2 if workers else 0)  # they have made their bodies
    before = server.cpu_seconds()
    prober.start()
    milliseconds = 1000 * np.array(taken.get(timeout=30 + seconds))
    cpu = server.cpu_seconds() - before
    over.set()
    statuses: Counter[str] = sum((Counter(told.get(timeout=120)) for _ in workers), Counter())
    for process in (prober, *workers):
        process.join()
    p50, p99 = np.quantile(milliseconds, (0.5, 0.99))
    words = ", ".join(f"{status or 'nothing'}: {number}" for status, number in sorted(statuses.items()))
    return [f"{len(milliseconds)}", f"{p50:.1f}", f"{p99:.0f}", f"{milliseconds.max():.0f}", f"{cpu:.1f}", words]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
        folder, port = Path(scratch), free_port()
        add_small_model(folder / "service")
        body = folder / "body.json"
        body.write_text(json.dumps({"inputs": [{"width": 3, "height": 4, "depth": -5}]}))
        command = [sys.executable, "-m", "app.cli.main", "api", "--port", str(port), "--data", str(folder / "service")]
        server = Server("Graftwork", command, port, {"OMP_NUM_THREADS": "1"}, KEY)
        server.start([Target("sizes", server, "/v1/models/sizes/predictions", {1: body})], folder / "api.log")
        try:
            print_head(
                ["/health/live", "answers", "p50 ms", "p99 ms", "largest ms", "API's CPU s", "attackers were told"]
            )
            for name, worker in (("calm", None), (f"busy, {options.processes} processes", compute)):
                print_row([name, *measure(server, options.seconds, worker, "", options.processes)])
            for kind in options.kinds.split(","):
                print_row([kind, *measure(server, options.seconds, attack, kind, options.processes)])
            httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).raise_for_status()
        except Exception:
            print((folder / "api.log").read_text()[-4000:])
            raise
        finally:
            server.stop()


if __name__ == "__main__":
    main()
