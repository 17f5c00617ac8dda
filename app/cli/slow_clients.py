"""Cuts the connections of slow clients; uvicorn itself would wait for them without limit."""

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_CHECK_SECONDS = 0.5
_READ_SECONDS = 0.01  # any time above 0 lets the event loop read what has arrived


class BoundedProtocol(H11Protocol):
    """Uvicorn's HTTP protocol with time limits on the client.

    The headers of a request must arrive within `seconds` of the connection or of their first byte. Its body must arrive
    within another `seconds`, plus one second per `rate` bytes. Time in which the service does not read, or in which its
    event loop was blocked, is not counted. A client that reads nothing of a response for 3 `seconds` is cut as well.
    """

    seconds: float = 20.0
    rate: int = 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waited = 0.0  # seconds waited for the client in this phase
        self._unread = 0.0  # seconds in which the client read nothing
        self._body = 0  # bytes of the body so far
        self._idle = False  # between two requests: uvicorn limits that time itself
        self._phase: object = None
        self._checked_at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start checking the connection every half second."""
        super().connection_made(transport)
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop checking."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a body."""
        self._idle = False
        if self.conn.their_state is h11.SEND_BODY:
            self._body += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Note that the connection waits for its next request."""
        super().on_response_complete()
        self._idle = not self.conn.trailing_data[0]

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless its next request arrived while the event loop was held up.

        The loop runs timers before it reads: closing with a request unread would reset the connection of a client
        that was in time.
        """
        self.timeout_keep_alive_task = self.loop.call_later(_READ_SECONDS, super().timeout_keep_alive_handler)

    def _check(self) -> None:
        now = time.monotonic()
        elapsed, self._checked_at = min(now - self._checked_at, _CHECK_SECONDS), now
        phase = self.conn.their_state
        if phase is not self._phase:
            self._phase, self._waited = phase, 0.0
            self._body = self._body if phase is h11.SEND_BODY else 0
        if phase in (h11.IDLE, h11.SEND_BODY) and not self._idle and not self.flow.read_paused:
            self._waited += elapsed
        self._unread = self._unread + elapsed if self.flow.write_paused else 0.0
        if self._waited > self.seconds + self._body / self.rate or self._unread > 3 * self.seconds:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(_CHECK_SECONDS, self._check)


def bounded_protocol(seconds: float, rate: int) -> type[BoundedProtocol]:
    """Return the protocol class with these limits, as uvicorn takes it."""
    return type("ConfiguredProtocol", (BoundedProtocol,), {"seconds": seconds, "rate": rate})
