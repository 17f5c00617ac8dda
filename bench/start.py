"""Times the `graftwork` command until its help or its first request, and `graftwork up` until the API is ready.

The folder of `graftwork up` is new.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from service import start, wait_ready

from app.kit.process import free_port

RUNS = 5
COMMAND = [sys.executable, "-m", "graftwork.command.main"]


def help_seconds(*words: str) -> float:
    started_at = time.monotonic()
    subprocess.run([*COMMAND, *words, "--help"], check=True, capture_output=True)
    return time.monotonic() - started_at


def request_seconds() -> float:
    """The seconds until `graftwork data list` has connected to its service."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = {**os.environ, "GRAFTWORK_URL": url, "GRAFTWORK_KEY": "a-key"}
        started_at = time.monotonic()
        process = subprocess.Popen([*COMMAND, "data", "list"], env=environment, stderr=subprocess.DEVNULL)
        connection, _ = listener.accept()
        seconds = time.monotonic() - started_at
        connection.close()
        process.kill()
        process.wait()
    return seconds


def ready_seconds() -> float:
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as folder:
        url = f"http://127.0.0.1:{free_port()}"
        started_at = time.monotonic()
        process = start(Path(folder), url, threads=1)
        wait_ready(url, process)
        seconds = time.monotonic() - started_at
        process.terminate()
        process.wait()
    return seconds


MEASURES: list[tuple[str, Callable[[], float], float]] = [
    ("graftwork --help", help_seconds, 0.3),
    ("graftwork finetune --help", lambda: help_seconds("finetune"), 0.3),
    ("graftwork up --help", lambda: help_seconds("up"), 0.3),
    ("graftwork data list, first request", request_seconds, 0.3),
    ("graftwork up, ready", ready_seconds, 4),
]


def main() -> None:
    for name, measure, target in MEASURES:
        times = [measure() for _ in range(RUNS)]
        print(
            f"{name}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s (target: {target} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
