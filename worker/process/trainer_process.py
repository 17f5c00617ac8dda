"""A trainer process as its supervisor sees it: forked, given one job, told to drain, killed.

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
from contextlib import suppress
from typing import Any

from app.jobs.attempts import Lease
from app.kit.process import adopt_orphans
from worker.process.drain import StopReason

log = logging.getLogger(__name__)

_FORK_SECONDS = 60.0  # the imports come first
_TRIES = 3


class NoTrainerError(Exception):
    """No trainer could be forked; the log says why."""


def environment(threads: int) -> dict[str, str]:
    """What a trainer's libraries are told: their share of the processor, and to add up in the same order in each run.

    Without MKL_CBWR two threads of MKL give other last bits from run to run (seen in the gradient of a convolution
    with a batch of one row), and a resumed training would not be the undisturbed one. It costs nothing measurable.
    """
    count = str(threads or os.cpu_count() or 1)
    return {"OMP_NUM_THREADS": count, "MKL_CBWR": "AUTO", **os.environ}


class ForkServer:
    """The process that trainers are forked from; started again where it was killed or hangs for `patience` seconds."""

    def __init__(self, threads: int, patience: float = _FORK_SECONDS) -> None:
        self._threads, self._patience = threads, patience
        adopt_orphans()
        self._start()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(self._patience)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.process.fork_server", str(os.getpid())],
                stdin=theirs.fileno(),
                env=environment(self._threads),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        pid: int = self._process.pid
        return pid

    def fork(self) -> "TrainerProcess":
        """Return a new trainer. Raises `NoTrainerError`."""
        for _ in range(_TRIES):
            reading, writing = os.pipe()
            try:
                pid = self._ask(reading)
            finally:
                os.close(reading)
            if pid is not None:
                return TrainerProcess(pid, writing)
            os.close(writing)
            log.error("the trainers' fork server does not answer (code %s); it is started again", self._process.poll())
            self.close()
            self._start()
        raise NoTrainerError

    def _ask(self, stdin: int) -> int | None:
        with suppress(OSError):
            socket.send_fds(self._control, [b"f"], [stdin])
            if answer := self._control.recv(20):
                return int(answer)
        return None

    def close(self) -> None:
        """End it; its trainers go on."""
        self._process.kill()
        self._process.wait()
        self._control.close()


class TrainerProcess:
    """One trainer; it warms up and then waits for its job.

    Parameters
    ----------
    pid
        Its process id, a child of ours, which is also its process group's.
    stdin
        The descriptor that writes to its standard input.
    """

    def __init__(self, pid: int, stdin: int) -> None:
        self.pid = pid
        self._stdin = os.fdopen(stdin, "wb", buffering=0)
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def start(self, lease: Lease) -> None:
        """Give it a job."""
        self._send(lease.model_dump())

    def drain(self, reason: StopReason) -> None:
        """Ask it to write a checkpoint, let go of the job and end."""
        self._send({"drain": reason})

    def dump_stacks(self) -> None:
        """Have it write where each of its threads is, see `worker.attempt.folder`; a hanging one does, too."""
        if self.alive():
            os.kill(self.pid, signal.SIGUSR1)

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.wait(0) is None

    def wait(self, seconds: float) -> int | None:
        """Return its exit code (minus the signal's number where one killed it), None if it still runs after that."""
        if self._code is None and select.select([self._handle], [], [], seconds)[0]:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._handle)
        return self._code

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        while self.wait(60) is None:
            log.error("trainer %d does not die", self.pid)
        with suppress(ChildProcessError):  # what it had started is ours now
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        self._stdin.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return  # it is dead already, which its exit code tells
