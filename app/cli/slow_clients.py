"""How long a client may take. Uvicorn itself waits for ever for the rest of a request, or for a reader."""

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LOOK_SECONDS = 0.5


class PatientProtocol(H11Protocol):
    """Cuts connections whose client keeps the service waiting.

    A request's head has to be there `seconds` after its first byte, or after the connection was made. Its body gets as
    long again and a second more for every `rate` bytes of it; while the service itself does not read, no time passes. A
    client that reads nothing of an answer for three times as long is cut, too.
    """

    seconds: float = 20.0
    rate: int = 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waited = 0.0  # for the client, in this phase
        self._unread = 0.0
        self._body = 0
        self._idle = False  # between two requests, for which uvicorn has a limit of its own
        self._phase: object = None
        self._looked = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Count what a body has so far."""
        self._idle = False
        if self.conn.their_state is h11.SEND_BODY:
            self._body += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """What comes next is another request."""
        super().on_response_complete()
        self._idle = not self.conn.trailing_data[0]

    def _look(self) -> None:
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        phase = self.conn.their_state
        if phase is not self._phase:
            self._phase, self._waited = phase, 0.0
            self._body = self._body if phase is h11.SEND_BODY else 0
        if phase in (h11.IDLE, h11.SEND_BODY) and not self._idle and not self.flow.read_paused:
            self._waited += passed
        self._unread = self._unread + passed if self.flow.write_paused else 0.0
        if self._waited > self.seconds + self._body / self.rate or self._unread > 3 * self.seconds:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)


def bounded_protocol(seconds: float, rate: int) -> type[PatientProtocol]:
    """Return the protocol with these limits."""
    return type("Patient", (PatientProtocol,), {"seconds": seconds, "rate": rate})
