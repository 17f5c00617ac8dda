"""Tells whether anybody still waits for an answer."""

from anyio import from_thread
from starlette.requests import Request


def has_hung_up(request: Request) -> bool:
    """Whether the client of a request, whose body was read, is gone; for the thread of its endpoint."""
    return from_thread.run(request.is_disconnected)
