"""What happens to every request before routing: its Host is checked, and it gets an id."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem
from app.kit.ids import new_id

_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_HEALTH = ("/health/live", "/health/ready")  # asked by those who know an address, not a name
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def hosts_for(bound: str, configured: list[str]) -> frozenset[str] | None:
    """Return the Host names to answer, or None for all.

    A service on the loopback answers only loopback names, so that no web page can reach it by DNS rebinding.
    """
    if configured:
        return None if "*" in configured else frozenset(configured)
    return frozenset(_LOOPBACK) if bound in _LOOPBACK else None


class Entrance:
    """Labels each request and its answer with an id, and refuses foreign Host headers."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                answer["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if self.hosts is not None and _host(headers) not in self.hosts and scope["path"] not in _HEALTH:
            refusal = problem(Request(scope), 400, "unknown_host", "This service does not answer to that Host header.")
            await refusal(scope, receive, labelled)
            return
        await self.app(scope, receive, labelled)


def _host(headers: Headers) -> str:
    """Return the Host without its port."""
    return re.sub(r":\d+$", "", headers.get("host", "")).lower()
