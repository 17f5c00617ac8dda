"""The supervisor's side of a trainer: the process is forked, gets one job, is drained, or is killed.

It reads JSON lines from its standard input, see `worker.process.trainer`; `worker.process.fork_server` says where it
comes from.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.kit.process import adopt_orphans
from worker.attempt.drain import StopReason

log = logging.getLogger(__name__)

_FORK_SECONDS = 180.0  # the imports come first, and on a busy machine take a minute
_TRIES = 3


class NoTrainerError(Exception):
    """No trainer could be forked; the log says why."""


def environment(threads: int) -> dict[str, str]:
    """Environment variables of trainers: how many threads, and that sums have the same order in every run.

    Without MKL_CBWR two threads of MKL give other last bits from run to run (seen in the gradient of a convolution
    with a batch of one row), and a resumed training would not be the undisturbed one. It costs nothing measurable.
    """
    count = str(threads or os.cpu_count() or 1)
    return {"OMP_NUM_THREADS": count, "MKL_CBWR": "AUTO", **os.environ}


class ForkServer:
    """The process that trainers are forked from; started again where it was killed or hangs for `patience` seconds."""

    def __init__(self, threads: int, patience: float = _FORK_SECONDS) -> None:
        self._threads, self._patience = threads, patience
        self._lock = threading.Lock()  # both of a worker's lanes fork
        adopt_orphans()
        self._start()

    def _start(self) -> None:
        self._control, server_end = socket.socketpair()
        self._control.settimeout(self._patience)
        with server_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.process.fork_server", str(os.getpid())],
                stdin=server_end.fileno(),
                env=environment(self._threads),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the fork server."""
        pid: int = self._process.pid
        return pid

    def fork(self) -> "TrainerProcess":
        """Return a new trainer. Raises `NoTrainerError`."""
        with self._lock:
            return self._fork()

    def _fork(self) -> "TrainerProcess":
        for _ in range(_TRIES):
            reading, writing = os.pipe()
            try:
                pid = self._request(reading)
            finally:
                os.close(reading)
            if pid is not None:
                return TrainerProcess(pid, writing)
            os.close(writing)
            log.error("the trainers' fork server does not answer (code %s); it is started again", self._process.poll())
            self.close()
            self._start()
        raise NoTrainerError

    def _request(self, stdin: int) -> int | None:
        """Let a trainer be forked that reads from `stdin`; return its process id, None without an answer."""
        with suppress(OSError):
            socket.send_fds(self._control, [b"f"], [stdin])
            if answer := self._control.recv(20):
                return int(answer)
        return None

    def close(self) -> None:
        """Kill the fork server; its trainers go on."""
        self._process.kill()
        self._process.wait()
        self._control.close()


class TrainerProcess:
    """One trainer process; it warms up and then waits for its job.

    Parameters
    ----------
    pid
        Its process id, which is also that of its process group; a child of this process.
    stdin
        The descriptor that writes to its standard input.
    """

    def __init__(self, pid: int, stdin: int) -> None:
        self.pid = pid
        self._stdin = os.fdopen(stdin, "wb", buffering=0)
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def start(self, right: Lease | Seat) -> None:
        """Give the trainer its job, or its part in another worker's."""
        self._send(right.model_dump())

    def drain(self, reason: StopReason) -> None:
        """Tell the trainer to write a checkpoint, give the job back and end."""
        self._send({"drain": reason})

    def dump_stacks(self) -> None:
        """Let the trainer write all threads' stacks into `worker.attempt.folder.stacks_file`, even while it hangs."""
        if self.alive():
            os.kill(self.pid, signal.SIGUSR1)

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self.wait(0) is None

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, minus the signal's number where one killed it; None if it still runs after that."""
        if self._code is None and select.select([self._handle], [], [], seconds)[0]:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._handle)
        return self._code

    def kill(self) -> None:
        """Kill the trainer and all processes that it started."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        while self.wait(60) is None:
            log.error("trainer %d does not die", self.pid)
        with suppress(ChildProcessError):  # what it had started are children of this process now
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        self._stdin.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return  # it is dead already, which its exit code tells
