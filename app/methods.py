"""HEAD and OPTIONS for every route, and the methods that a path allows.

HEAD is answered as GET is, without the body (RFC 9110, section 9.3.2); a stream ends after its head. OPTIONS needs no
key: which methods a path has, the OpenAPI document tells everybody.
"""

from collections.abc import Sequence

from anyio import CancelScope
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Return the methods of all routes that have the path of a request; none for an unknown path."""
    at_path = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    methods = {method for route in at_path for method in getattr(route, "methods", None) or ()}
    if "GET" in methods:
        methods.add("HEAD")
    if methods:
        methods.add("OPTIONS")
    return [method for method in _METHODS if method in methods]


class HeadAndOptions:
    """Answers HEAD by the application's GET, and OPTIONS by itself; `routes` are those of the application."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"] if scope["type"] == "http" else None
        if method == "HEAD":
            await self._head(scope, receive, send)
        elif method == "OPTIONS" and (methods := allowed_methods(self.routes, scope)):
            answer = Response(status_code=204, headers={"Allow": ", ".join(methods)})
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Ranges are defined for GET alone (RFC 9110, section 14.2).
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        as_get = {**scope, "method": "GET", "headers": headers}
        with CancelScope() as until_the_body:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    scope["route"] = as_get.get("route")  # by which requests are counted
                    await send(message)
                    return
                has_more = message.get("more_body", False)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if has_more:
                    until_the_body.cancel()  # the rest of a file, or a stream that may never end

            await self.app(as_get, receive, send_head)
