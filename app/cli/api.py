"""`graftwork api`: the HTTP API under uvicorn."""

import logging

import uvicorn

from app.main import create_app
from app.settings import Settings


def run() -> None:
    """Serve until a signal comes; open event streams are cut after a few seconds."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s api %(process)d %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        http="h11",  # the other parser takes headers of any size
        h11_max_incomplete_event_size=1 << 16,
        limit_concurrency=512,
        timeout_graceful_shutdown=3,
    )
