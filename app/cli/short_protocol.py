"""Answers requests from the HTTP protocol where `PredictionWire` can, without a task for each."""

from collections.abc import Sequence
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.cli.slow_clients import BoundedProtocol
from app.predictions.wire import Exchange, PredictionWire


class ShortProtocol(BoundedProtocol):
    """Lets `wire` answer requests whose head it recalls; all others, and what it hands back, go to the application.

    Uvicorn keeps each request as a cycle, which collects the body and holds back the requests that a client sends
    behind it. Nothing of that is different here: only the start of the application's task is put off, and where the
    answer is there without it, left out.
    """

    wire: PredictionWire | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._under_way: tuple[Exchange, RequestResponseCycle] | None = None  # that is received, or computed
        self._parts: list[bytes] = []  # of its body

    def connection_lost(self, exc: Exception | None) -> None:
        """Compute nothing more for a client that is gone."""
        super().connection_lost(exc)
        if self._under_way is not None:
            self._end()

    def on_body(self, body: bytes) -> None:
        """Keep what belongs to the exchange, which has memory for its whole body; nothing is copied."""
        if self._is_received:
            self._body_bytes += len(body)
            self._parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Compute the answer."""
        super().on_message_complete()
        if self._is_received:
            self._submit()

    def _check(self) -> None:
        """Leave what takes too long to the application, which says so."""
        super()._check()
        if self._under_way is not None and not self._under_way[1].more_body and self._under_way[0].is_late:
            self._hand_back()

    def _take(self, answers: Sequence[Any], error: BaseException | None) -> None:
        """Answer the client; the application says what is wrong."""
        assert self._under_way is not None  # an exchange that has left takes nothing
        exchange, cycle = self._under_way
        response = exchange.response(answers) if error is None and not self.flow.write_paused else None
        if response is None:
            self._hand_back()
            return
        self._end()
        if self.transport.is_closing():
            return
        self._write(cycle, *response)
        self.on_response_complete()

    @property
    def _is_received(self) -> bool:
        """Whether what arrives belongs to the exchange, rather than to a request behind it."""
        return self._under_way is not None and self._under_way[1] is self.cycle

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin an exchange if there is one for the head of the cycle; else let the application answer."""
        is_usual = app is self.app and cycle.keep_alive and not self.flow.write_paused
        exchange = self.wire.recall(cast("Scope", cycle.scope)) if self.wire is not None and is_usual else None
        if exchange is None:
            super()._start_asgi_task(cycle, app)
            return
        self._under_way = exchange, cycle
        if not cycle.more_body:  # it has waited behind others
            self._submit()

    def _submit(self) -> None:
        assert self._under_way is not None  # as its callers know
        exchange, cycle = self._under_way
        is_in_one_piece = len(self._parts) == 1 and not cycle.body  # which has what came before the exchange began
        body = self._parts[0] if is_in_one_piece else b"".join((cycle.body, *self._parts))
        self._parts = [body]
        if not exchange.submit(body, self._take):
            self._hand_back()

    def _write(self, cycle: RequestResponseCycle, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        if not cycle.keep_alive:  # the server is stopping
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[200], *lines, b"\r\n", content)))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()

    def _hand_back(self) -> None:
        assert self._under_way is not None  # as its callers know
        cycle = self._under_way[1]
        cycle.body = bytearray(self._parts[0])
        self._end()
        super()._start_asgi_task(cycle, self.app)

    def _end(self) -> None:
        assert self._under_way is not None  # as its callers know
        self._under_way[0].leave()
        self._under_way = None
        self._parts = []


def short_protocol(seconds: float, rate: int, wire: PredictionWire | None) -> type[ShortProtocol]:
    """Return the protocol class with these limits and this wire, as uvicorn takes it."""
    return type("ConfiguredProtocol", (ShortProtocol,), {"seconds": seconds, "rate": rate, "wire": wire})
