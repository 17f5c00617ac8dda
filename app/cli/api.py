"""`graftwork api`: the HTTP API under uvicorn."""

import logging
import resource

import uvicorn

from app.cli.slow_clients import bounded_protocol
from app.db.revisions import exit_unless_fit
from app.kit import logs
from app.main import create_app
from app.settings import Settings

KEEP_ALIVE_SECONDS = 10  # longer than clients keep an idle connection (httpx: 5), so that they close it first
_MAX_FILES = 8192
_SPARE_FILES = 200  # those of the database and of everything else that is open


def _connections() -> int:
    """As many as files may be open; what they ask for at a time is limited elsewhere."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(hard_limit, _MAX_FILES) if hard_limit != resource.RLIM_INFINITY else _MAX_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard_limit))
    return max(files - _SPARE_FILES, files // 2)


def run() -> None:
    """Serve until a signal comes; open event streams are cut after a few seconds."""
    logs.configure("api")
    settings = Settings()
    exit_unless_fit(settings.sql_url)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        http=bounded_protocol(
            settings.receive_seconds, settings.receive_rate
        ),  # h11 bounds headers, httptools does not
        h11_max_incomplete_event_size=1 << 16,
        limit_concurrency=_connections(),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )
