"""Processes that cannot outlive their parent (Linux), and free ports."""

import ctypes
import errno
import gc
import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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


@contextmanager
def permanent() -> Iterator[None]:
    """Import modules inside, and create what lives to the end: no search for garbage goes through it, then or later.

    Python would search again and again while thousands of modules load: a quarter of the time, for nothing.
    """
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()  # after a fork, pages that nobody writes stay shared
    finally:
        gc.enable()


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
