"""A trainer process as its supervisor sees it: started warm, given one job, told to drain, killed.

A trainer is a program of its own (`python -m worker.trainer`), never a fork: OpenMP and CUDA do not survive forks.
It reads JSON lines from its standard input.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from app.jobs.attempts import Lease
from worker.drain import StopReason


def environment(threads: int) -> dict[str, str]:
    """What a trainer's libraries are told: their share of the processor, and to add up in the same order in each run.

    Without MKL_CBWR two threads of MKL give other last bits from run to run (seen in the gradient of a convolution
    with a batch of one row), and a resumed training would not be the undisturbed one. It costs nothing measurable.
    """
    count = str(threads or os.cpu_count() or 1)
    return {"OMP_NUM_THREADS": count, "MKL_CBWR": "AUTO", **os.environ}


class TrainerProcess:
    """One trainer; it imports torch at once and then waits for its job."""

    def __init__(self, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.trainer", str(os.getpid())],
            stdin=subprocess.PIPE,
            env=environment(threads),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id, which is also its process group's."""
        return self._process.pid

    def start(self, lease: Lease) -> None:
        """Give it a job."""
        self._send(lease.model_dump())

    def drain(self, reason: StopReason) -> None:
        """Ask it to write a checkpoint, let go of the job and end."""
        self._send({"drain": reason})

    def dump_stacks(self) -> None:
        """Have it write where each of its threads is, see `worker.attempt_folder`; a hanging one does, too."""
        if self.alive():
            os.kill(self._process.pid, signal.SIGUSR1)

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, None if it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.alive():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _send(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - opened as a pipe above
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            return  # it is dead already, which its exit code tells
