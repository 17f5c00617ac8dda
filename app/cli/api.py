"""`graftwork api`: the HTTP API under uvicorn."""

import logging
import resource
import socket
import sys

import uvicorn
from threadpoolctl import threadpool_limits

from app.cli.database import exit_unless_usable
from app.cli.short_protocol import short_protocol
from app.cli.watched_server import WatchedServer
from app.kit import logs
from app.kit.process import permanent
from app.main import create_app
from app.settings import Settings

KEEP_ALIVE_SECONDS = 10  # longer than clients keep an idle connection (httpx: 5), so that they close it first
_MAX_OPEN_FILES = 8192
_RESERVED_FILES = 200  # for the database, artifacts and logs


def _max_connections() -> int:
    """Raise the limit of open files, and return how many connections it allows.

    Idle connections count, too; `RequestLimits` limits concurrent requests.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(hard_limit, _MAX_OPEN_FILES) if hard_limit != resource.RLIM_INFINITY else _MAX_OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard_limit))
    return max(files - _RESERVED_FILES, files // 2)


def run() -> None:
    """Serve until a signal arrives; open event streams are cut after three seconds."""
    settings = Settings()
    exit_unless_usable(settings, may_be_away=True)
    logs.configure("api")
    threadpool_limits(1, user_api="blas")  # NumPy computes small batches, which two threads take twice the time for
    with permanent():
        app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        http=short_protocol(settings.receive_seconds, settings.receive_rate, app.state.wire),
        limit_concurrency=_max_connections(),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    engine = app.state.services.engine
    server = WatchedServer(config, settings.api_stall_seconds, engine.seconds_of_longest_batch)
    server.run(sockets=[_listening(settings)])


def _listening(settings: Settings) -> socket.socket:
    """Return a socket bound to the address of the API; several processes share its port, and the kernel deals out."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.api_processes > 1:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        sys.exit(f"graftwork api: {settings.host}:{settings.port} cannot be served ({error.strerror}); see --port.")
    listening.set_inheritable(True)
    return listening
