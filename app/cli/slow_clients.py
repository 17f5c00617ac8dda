"""Cuts the connections of slow clients; uvicorn itself would wait for them without limit."""

import asyncio
import time
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_CHECK_SECONDS = 0.5
_READ_SECONDS = 0.01  # any time above 0 lets the event loop read what has arrived
_MAX_HEAD_BYTES = 1 << 16
_TOO_LARGE = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"

Phase = Literal["head", "body", "answer"]


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with limits on the client.

    The head of a request, of 64 KiB at most, must arrive within `seconds` of the connection or of its first byte. Its
    body must arrive within another `seconds`, plus one second per `rate` bytes. Time in which the service does not
    read, or in which its event loop was blocked, is not counted. A client that reads nothing of a response for
    3 `seconds` is cut as well.
    """

    seconds: float = 20.0
    rate: int = 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._phase: Phase = "head"  # which part of a request is awaited, or its answer by the client
        self._waited = 0.0  # seconds waited for the client in this phase
        self._unread = 0.0  # seconds in which the client read nothing
        self._has_ended = False  # whether a request has, in what was just received
        self._head_bytes = 0
        self._body_bytes = 0
        self._idle = False  # between two requests: uvicorn limits that time itself
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
        """Parse what has arrived; refuse a head that is too large."""
        if self._idle:
            self._idle = False
            self._enter("head")
        self._has_ended = False
        super().data_received(data)
        if self._phase == "head" and not self._has_ended:  # else most of it was of requests before this head
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        if self._phase != "head":
            self._enter("head")

    def on_headers_complete(self) -> None:
        """Note that the body is next."""
        super().on_headers_complete()
        self._enter("body")

    def on_body(self, body: bytes) -> None:
        """Count the bytes of a body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        super().on_message_complete()
        self._has_ended = True
        self._enter("answer")

    def on_response_complete(self) -> None:
        """Note that the connection waits for its next request."""
        super().on_response_complete()
        self._idle = self._phase == "answer" and not self.pipeline

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless its next request arrived while the event loop was held up.

        The loop runs timers before it reads: closing with a request unread would reset the connection of a client
        that was in time.
        """
        self.timeout_keep_alive_task = self.loop.call_later(_READ_SECONDS, super().timeout_keep_alive_handler)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._waited = phase, 0.0
        self._head_bytes = self._body_bytes = 0

    def _waits_for_client(self) -> bool:
        """Tell whether the client is to send something: the rest of a body, or of a head when all else is answered."""
        if self._idle or self.flow.read_paused:
            return False
        return self._phase == "body" or self.cycle is None or self.cycle.response_complete

    def _check(self) -> None:
        now = time.monotonic()
        elapsed, self._checked_at = min(now - self._checked_at, _CHECK_SECONDS), now
        if self._waits_for_client():
            self._waited += elapsed
        self._unread = self._unread + elapsed if self.flow.write_paused else 0.0
        if self._waited > self.seconds + self._body_bytes / self.rate or self._unread > 3 * self.seconds:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(_CHECK_SECONDS, self._check)
