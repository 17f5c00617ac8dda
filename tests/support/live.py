"""An application behind a real server and a real socket, in a thread of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from app.cli.short_protocol import short_protocol
from app.settings import Settings
from tests.support.servers import HANGS, wait_until


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """Serve an application on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = short_protocol(Settings().receive_seconds, Settings().receive_rate, app.state.wire)
    config = uvicorn.Config(app, http=protocol, log_level="critical", lifespan="on", timeout_keep_alive=HANGS)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_until(lambda: server.started, "it serves")
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(HANGS)
    listener.close()
    assert not thread.is_alive()
