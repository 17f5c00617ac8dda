"""Sends requests for predictions on to a predictor: an API of the same service in another process or machine.

What crashes or hangs there costs the requests under way and nothing else; whoever asks again reaches its successor. The
predictor looks at keys, scopes and bodies itself, so a request is passed on as it came, and so is the answer; here it
takes its slot of the shares.
"""

import re
from collections.abc import AsyncIterator

import anyio
import httpx
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from app.errors import GraftworkError, problem
from app.security import Authenticator

_PATH = re.compile(r"/v1/.*(predictions|embeddings|generations)|/v2/.*/infer|/openai/v1/(embeddings|completions)")
_OF_ONE_CONNECTION = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"te",
    b"upgrade",
    b"host",
    b"expect",
    b"date",
}
_CONNECT_SECONDS = 5.0


class Forwarding:
    """Answers requests for predictions by asking a predictor; hands back all others."""

    def __init__(self, url: str, authenticator: Authenticator) -> None:
        self._url = url.rstrip("/")
        self._authenticator = authenticator
        self._client: httpx.AsyncClient | None = None

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> Receive | None:
        """Answer a request and return None; or return how whoever answers it instead is to receive it."""
        if _PATH.fullmatch(scope["path"]) is None:
            return receive
        try:
            scope["state"]["slot"].enter(await self._authenticator.authenticate(Request(scope)))
        except GraftworkError:
            return receive  # the endpoint says what is wrong
        async with anyio.create_task_group() as until_answered:
            body_read = anyio.Event()
            until_answered.start_soon(_watch, receive, body_read, until_answered.cancel_scope)
            await self._forward(scope, receive, send, request_id, body_read)
            until_answered.cancel_scope.cancel()
        return None

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, request_id: bytes, body_read: anyio.Event
    ) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_ONE_CONNECTION]
        headers = [(name, value) for name, value in headers if name != b"x-request-id"]
        query = scope["query_string"].decode("latin-1")
        request = httpx.Request(
            scope["method"],
            self._url
            + scope.get("raw_path", scope["path"].encode()).decode("latin-1")
            + (f"?{query}" if query else ""),
            headers=[*headers, (b"x-request-id", request_id)],
            content=_body(receive, body_read),
        )
        try:
            answer = await self._connected().send(request, stream=True)
        except httpx.TransportError:
            detail = "The process that computes predictions does not answer; it is being started anew. Try again."
            refusal = problem(Request(scope), 503, "predictor_unavailable", detail, headers={"Retry-After": "2"})
            await refusal(scope, receive, send)
            return
        try:
            kept = [
                (name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _OF_ONE_CONNECTION
            ]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with anyio.CancelScope(shield=True):
                await answer.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=5)
            timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
            self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        return self._client


async def _body(receive: Receive, body_read: anyio.Event) -> AsyncIterator[bytes]:
    """Yield the body of a request as it arrives."""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        yield message.get("body", b"")
        if not message.get("more_body", False):
            break
    body_read.set()


async def _watch(receive: Receive, body_read: anyio.Event, scope: anyio.CancelScope) -> None:
    """End the forwarding of a request whose client hangs up, so that nothing is computed for nobody."""
    await body_read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
