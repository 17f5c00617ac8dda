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

from app.kit.process import free_port
from graftwork import Graftwork

_STARTS = 5
KEY = "a-key-for-benches-only-0123456789abcdef"


@contextmanager
def service(folder: Path | None = None, threads: int = 1) -> Iterator[Graftwork]:
    """Start a service, yield a client of it, and stop the service."""
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
        url = f"http://127.0.0.1:{free_port()}"
        process = _started(folder or Path(scratch), url, threads)
        try:
            with Graftwork(url, KEY) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _started(folder: Path, url: str, threads: int) -> "subprocess.Popen[bytes]":
    """Return the process of a service that is ready; on a busy machine `graftwork up` may give up the first time."""
    for _ in range(_STARTS):
        process = start(folder, url, threads)
        try:
            if is_ready(url, process):
                return process
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
    sys.exit("the service did not start")


def start(folder: Path, url: str, threads: int) -> "subprocess.Popen[bytes]":
    """Start `graftwork up` on the port of `url`; its output goes to service.log in its folder."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "GRAFTWORK_BOOTSTRAP_KEY": KEY,
        "GRAFTWORK_BRING_IN_WEIGHTS": "false",
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "app.cli.main", "up", "--data", str(folder), "--port", url.rsplit(":", 1)[1]]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the API is ready. Exits if it does not become so."""
    if not is_ready(url, process):
        sys.exit("the service did not start")


def is_ready(url: str, process: "subprocess.Popen[bytes]", seconds: float = 300) -> bool:
    """Wait until the API is ready; return whether it is, within `seconds` and before the process ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).is_success:
                return True
        except httpx.TransportError:
            time.sleep(0.01)
    return False


def event(client: Graftwork, job_id: str, kind: str) -> dict[str, float]:
    """Return the data of a job's first event of a type."""
    return next(item["data"] for item in client.jobs.events(job_id) if item["type"] == kind)
