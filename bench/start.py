"""Times the commands `graftwork --help`, and `graftwork up` in a new folder until the API is ready."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service import start, wait_ready

from app.kit.process import free_port

RUNS = 5


def help_seconds() -> float:
    started_at = time.monotonic()
    subprocess.run([sys.executable, "-m", "app.cli.main", "--help"], check=True, capture_output=True)
    return time.monotonic() - started_at


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


def main() -> None:
    for name, measure, target in (("graftwork --help", help_seconds, 0.3), ("graftwork up, ready", ready_seconds, 4)):
        times = [measure() for _ in range(RUNS)]
        print(
            f"{name}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s (target: {target} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
