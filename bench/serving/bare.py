"""The ceiling: a fixed answer of 300 bytes by uvicorn, no framework and no model.

uvicorn bench.serving.bare:app
"""

from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = b'{"probabilities": [' + b", ".join([b"0.1000000015"] * 10) + b"]}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Read the body and answer."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
