"""Services that are a function: what a client is tried against where a real one cannot be made to misbehave."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from graftwork import Graftwork

Handler = Callable[[httpx.Request], httpx.Response]
Connect = Callable[[Handler], tuple[Graftwork, list[float]]]


def answer(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def sse(*events: dict[str, Any], tail: str = "") -> httpx.Response:
    lines = [f": ping\n\nid: {event['seq']}\nevent: x\ndata: {json.dumps(event)}\n\n" for event in events]
    return httpx.Response(200, text="".join(lines) + tail, headers={"content-type": "text/event-stream"})


def answers_once() -> Handler:
    """A service that is gone after its first answer."""
    calls: list[httpx.Request] = []

    def service(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        if len(calls) == 1:
            return answer({"status": "ok"})
        msg = "refused"
        raise httpx.ConnectError(msg, request=request)

    return service
