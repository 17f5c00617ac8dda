"""Starts a service for a bench: `graftwork up` in a temporary folder."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.client import Graftwork
from app.kit.process import free_port

KEY = "a-key-for-benches-only-0123456789abcdef"


@contextmanager
def service(folder: Path | None = None, threads: int = 1) -> Iterator[Graftwork]:
    """Start a service, yield a client of it, and stop the service."""
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
        url = f"http://127.0.0.1:{free_port()}"
        process = start(folder or Path(scratch), url, threads)
        try:
            wait_ready(url, process)
            with Graftwork(url, KEY) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def start(folder: Path, url: str, threads: int) -> "subprocess.Popen[bytes]":
    """Start `graftwork up` on the port of `url`; its output goes to service.log in its folder."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "GRAFTWORK_BOOTSTRAP_KEY": KEY,
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "app.cli.main", "up", "--data", str(folder), "--port", url.rsplit(":", 1)[1]]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def wait_ready(url: str, process: "subprocess.Popen[bytes]", seconds: float = 300) -> None:
    """Wait until the API is ready. Exits if it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.01)
    sys.exit("the service did not start")


def event(client: Graftwork, job_id: str, kind: str) -> dict[str, float]:
    """Return the data of a job's first event of a type."""
    return next(item["data"] for item in client.jobs.events(job_id) if item["type"] == kind)
