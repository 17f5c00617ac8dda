"""Processes that cannot outlive their parent (Linux), and free ports."""

import ctypes
import errno
import os
import random
import signal
import socket
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when the thread that started it ends.

    With the id of the `parent` that should still be there, end at once where it is not.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def adopt_orphans(*, adopt: bool = True) -> None:
    """Let processes below this one become its children when their parent ends, rather than init's; or no longer."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(adopt))


def name_process(name: str) -> None:
    """Give this process a name of at most 15 characters for `ps` and `top`."""
    _prctl(_PR_SET_NAME, name.encode())


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that no process listens on now.

    Linux gives ports from 32768 on to outgoing connections: one of those may be taken before a server that is about to
    start has bound it.

    Raises:
        OSError: none was found.
    """
    ports = random.SystemRandom().sample(range(10_000, 32_768), 200)
    for port in ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
