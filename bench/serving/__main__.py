"""CPU seconds a request, requests a second and latency of Graftwork beside other servers of the same network.

    python -m bench.serving [--rounds 3] [--seconds 4] [--kserve PYTHON]

One network (784-256-128-10), one row of 784 numbers as JSON or 32 of them; the image is 28 x 28 bytes. A text of 20
words goes through a GRU of 64, in Graftwork and in FastAPI with the same tokenizer and network. All servers
run side by side, one is loaded at a time, and rounds go over all of them again: a machine that slows down slows all.
Printed is the minimum of the rounds. KServe is skipped with a word unless a Python that has it is named.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from sqlalchemy import select

from app.artifacts import link_files, open_store
from app.client import Graftwork
from app.db.session import Database
from app.db.tables import ModelRow
from app.kit.process import free_port
from app.settings import Settings
from bench.service import KEY, start, wait_ready

HERE = Path(__file__).parent
BACKBONE = {"kind": "mlp", "hidden": [256, 128]}
LOADS = ((1, 1), (1, 8), (1, 64), (32, 8))  # rows, clients
ROWS = 3000


@dataclass
class Server:
    """A server under test: where it answers, and the processes whose time is counted."""

    name: str
    port: int
    path: str
    bodies: dict[int, Path]
    pid: int
    key: str | None = None
    results: dict[tuple[int, int], list[dict[str, float]]] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of its process and of those below it."""
        process = psutil.Process(self.pid)
        return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))

    def measure(self, rows: int, clients: int, seconds: float, count: int = 1) -> None:
        """Load it once; a * in its path stands for so many numbers in turn."""
        before = self.cpu_seconds()
        options = [str(self.port), self.path, str(self.bodies[rows]), str(clients), str(seconds)]
        command = [sys.executable, "-m", "bench.serving.load", *options, *([self.key, str(count)] if self.key else [])]
        ended = subprocess.run(command, check=True, capture_output=True, timeout=60 + seconds)
        result: dict[str, float] = json.loads(ended.stdout)
        assert not result["failed"], f"{self.name}: {result['failed']} answers were not 200"
        result["cpu"] = (self.cpu_seconds() - before) / result["requests"] * 1000
        self.results.setdefault((rows, clients), []).append(result)


def bodies(folder: Path, name: str, inputs: np.ndarray, key: str = "inputs") -> dict[int, Path]:
    """Write the bodies of requests with 1 and with 32 rows."""
    paths = {}
    for rows in {rows for rows, _ in LOADS}:
        paths[rows] = folder / f"{name}-{rows}.json"
        paths[rows].write_text(json.dumps({key: inputs[:rows].tolist()}))
    return paths


@contextmanager
def python_server(name: str, command: list[str], port: int, path: str, body: dict[int, Path]) -> Iterator[Server]:
    """Start a peer and wait until it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                httpx.post(f"http://127.0.0.1:{port}{path}", content=body[1].read_bytes(), trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield Server(name, port, path, body, process.pid)
    finally:
        process.terminate()
        process.wait()


def train(client: Graftwork, name: str, arrays: dict[str, np.ndarray], modality: str) -> None:
    """Train a model on made-up rows: only what it costs counts."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    dataset = client.datasets.create(buffer.getvalue(), filename="rows.npz", name=name, modality=modality)
    job = client.jobs.create(
        kind="fine_tuning",
        name=name,
        dataset=dataset["id"],
        model=None,
        backbone=BACKBONE,
        heads=[{"kind": "classifier", "target": "label"}],
        strategy={"kind": "full"},
        training={"epochs": 1},
    )
    client.jobs.wait(job["id"], timeout=600)


def train_text(client: Graftwork) -> None:
    """Train a small GRU on made-up texts of 20 words."""
    random = np.random.default_rng(0)
    lines = ["text,label", *(f"{text(random)},{'ab'[row % 2]}" for row in range(ROWS))]
    dataset = client.datasets.create("\n".join(lines).encode(), filename="texts.csv", name="text", modality="text")
    job = client.jobs.create(
        kind="fine_tuning",
        name="text",
        dataset=dataset["id"],
        model=None,
        backbone={"kind": "gru", "width": 64},
        heads=[{"kind": "classifier", "target": "label"}],
        strategy={"kind": "full"},
        training={"epochs": 1},
    )
    client.jobs.wait(job["id"], timeout=600)


def text(random: np.random.Generator) -> str:
    """Return 20 words out of 2,000."""
    return " ".join(f"w{number}" for number in random.integers(0, 2000, 20))


def copy_model(data: Path, name: str, folder: Path) -> Path:
    """Copy the files of a model out of the service's data folder."""
    settings = Settings(data=data)
    database = Database(settings.sql_url)
    with database.reading() as session:
        files = session.scalars(select(ModelRow).where(ModelRow.name == name)).one().files
    database.close()
    folder.mkdir()
    return link_files(open_store(settings), files, folder)


@contextmanager
def graftwork(folder: Path) -> Iterator[list[Server]]:
    """Train a model of a table, one of images and one of texts, and yield the API that serves them."""
    random = np.random.default_rng(0)
    table = random.random((ROWS, 784), dtype=np.float32)
    images = random.integers(0, 256, (ROWS, 28, 28), dtype=np.uint8)
    labels = table[:, :10].argmax(1)
    port = free_port()
    process = start(folder / "service", f"http://127.0.0.1:{port}", threads=1)
    try:
        wait_ready(f"http://127.0.0.1:{port}", process)
        with Graftwork(f"http://127.0.0.1:{port}", KEY) as client:
            train(client, "table", {"x": table, "y": labels}, "table")
            train(client, "image", {"x": images, "y": labels}, "image")
            train_text(client)
        texts = np.array([text(random) for _ in range(32)])
        (api,) = [each for each in psutil.Process(process.pid).children() if each.cmdline()[-1] == "api"]
        yield [
            Server(
                f"graftwork {name}", port, f"/v1/models/{name}/predictions", bodies(folder, name, rows), api.pid, KEY
            )
            for name, rows in (("table", table), ("image", images), ("text", texts))
        ]
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--kserve", type=Path, help="a Python that has kserve, torch and numpy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        servers = stack.enter_context(graftwork(folder))
        rows = np.random.default_rng(1).random((32, 784), dtype=np.float32)
        plain = bodies(folder, "plain", rows)
        for name in ("bare", "naive"):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", f"bench.serving.{name}:app", "--port", str(port)]
            command += ["--log-level", "warning", "--no-access-log"]
            servers.append(stack.enter_context(python_server(name, command, port, "/predict", plain)))
        port, texts = free_port(), servers[-3].bodies
        command = [sys.executable, "-m", "uvicorn", "bench.serving.naive_text:app", "--port", str(port)]
        command += ["--log-level", "warning", "--no-access-log"]
        os.environ["MODEL"] = str(copy_model(folder / "service", "text", folder / "text"))
        servers.append(stack.enter_context(python_server("naive text", command, port, "/predict", texts)))
        if options.kserve is None:
            print("KServe is skipped: --kserve names a Python that has it")
        else:
            port = free_port()
            command = [str(options.kserve), str(HERE / "kserve_peer.py"), str(port)]
            instances = bodies(folder, "instances", rows, "instances")
            path = "/v1/models/m:predict"
            servers.append(stack.enter_context(python_server("kserve", command, port, path, instances)))
        for _ in range(options.rounds):
            for load in LOADS:
                for server in servers:
                    server.measure(*load, options.seconds)
        report(servers)


def report(servers: list[Server]) -> None:
    """Print the minima of CPU milliseconds a request with the requests a second, p50 and p99 of that round."""
    print("| server | " + " | ".join(f"{rows} row(s), {clients} client(s)" for rows, clients in LOADS) + " |")
    print("|---" * (len(LOADS) + 1) + "|")
    for server in servers:
        best = [min(server.results[load], key=lambda result: result["cpu"]) for load in LOADS]
        cells = [
            f"{one['cpu']:.3f} ms ({one['requests'] / one['seconds']:,.0f}/s, {one['p50']:.1f} / {one['p99']:.1f} ms)"
            for one in best
        ]
        print(f"| {server.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
