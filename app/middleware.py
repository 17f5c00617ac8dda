"""Middleware of all requests: checks the Host header, sets a request id, and counts requests by their shares."""

import logging
import re
import time
from functools import lru_cache
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem
from app.kit import logs
from app.kit.ids import request_id as request_id_of
from app.metrics import Metrics
from app.shares.admission import Shares, Slot

log = logging.getLogger(__name__)

_HEALTH = (
    "/health/live",
    "/health/ready",
    "/v2/health/live",
    "/v2/health/ready",
)  # of any Host: load balancers send addresses
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNLOGGED = (*_HEALTH, "/metrics")
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def hosts_for(bound: str, configured: list[str]) -> frozenset[str] | None:
    """Return the accepted Host names, or None for all.

    On the loopback only loopback names are accepted, against DNS rebinding by web pages.
    """
    if configured:
        return None if "*" in configured else frozenset(configured)
    return frozenset(_LOOPBACK) if bound in _LOOPBACK else None


class Shortcut(Protocol):
    """What may answer a request in a shorter way than the application."""

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> Receive | None:
        """Answer a request and return None; or return how whoever answers it instead is to receive it."""


class RequestLimits:
    """Sets a request id on each request and response; refuses unknown Host headers and too many concurrent requests.

    What a request holds of the shares is given back when it ends; whoever knows its key lets it enter them.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: frozenset[str] | None,
        shares: Shares,
        metrics: Metrics,
        shortcut: Shortcut | None = None,
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.shares = shares
        self.metrics = metrics
        self.shortcut = shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers.get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = request_id
        slot = None if scope["path"] in _HEALTH else self.shares.arrive()
        scope["state"]["slot"] = slot
        try:
            await self._by_either_way(scope, receive, send, headers, request_id)
        finally:
            if slot is not None:
                slot.leave()

    async def _by_either_way(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str
    ) -> None:
        """Let the shortcut answer what it can, and the application the rest."""
        is_short = self.shortcut is not None and scope["state"]["slot"] is not None and scope["method"] == "POST"
        if self.shortcut is not None and is_short and self._is_known_host(headers):
            rest = await self.shortcut.answer(scope, receive, send, request_id.encode())
            if rest is None:
                return
            receive = rest
        with logs.traced(headers.get("traceparent")), logs.bound(request_id=request_id):
            await self._answer(scope, receive, send, headers, request_id)

    def _is_known_host(self, headers: Headers) -> bool:
        return self.hosts is None or _without_port(headers.get("host", "")) in self.hosts

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str) -> None:
        began = time.perf_counter()
        slot: Slot | None = scope["state"]["slot"]

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(scope, message["status"], time.perf_counter() - began)
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                answer["X-Content-Type-Options"] = "nosniff"
                if slot is not None:
                    answer.raw.extend(slot.headers())
            await send(message)

        if not self._is_known_host(headers) and scope["path"] not in _HEALTH:
            refusal = problem(Request(scope), 400, "unknown_host", "This service does not answer to that Host header.")
            await refusal(scope, receive, labelled)
            return
        if slot is None and scope["path"] not in _HEALTH:
            detail = "Too many requests are under way; nothing was done. Try again."
            refusal = problem(Request(scope), 429, "too_many_requests", detail, headers={"Retry-After": "1"})
            await refusal(scope, receive, labelled)
        else:
            await self.app(scope, receive, labelled)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log an answer. All paths without a route count as one route."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"  # clients may invent methods
        self.metrics.request(method, route, status, seconds)
        if route not in _UNLOGGED:
            log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * seconds)


@lru_cache(maxsize=1024)
def _without_port(host: str) -> str:
    return re.sub(r":\d+$", "", host).lower()
