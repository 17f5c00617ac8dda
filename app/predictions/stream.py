"""A generation as server-sent events: a `text` for each piece of a continuation, then the `result`.

The result is what the request without a stream is answered with; where it fails on the way, an `error` ends the stream.
"""

from collections.abc import Iterator
from dataclasses import asdict

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from app.errors import problem_on_the_way
from app.predictions.service import Generating


def generation_lines(generating: Generating, request_id: str | None) -> Iterator[bytes]:
    """Yield the wire form of a generation's events; stopping to ask for them stops the computing."""
    steps = generating.steps
    try:
        while True:
            for piece in next(steps):
                yield _event("text", asdict(piece))
    except StopIteration as end:
        yield _event("result", end.value.model_dump(mode="json"))
    except Exception as error:  # noqa: BLE001 - the answer has begun, and its status is sent
        yield _event("error", problem_on_the_way(error, request_id).model_dump())


def _event(kind: str, data: object) -> bytes:
    return format_sse_event(data_str=to_json(data).decode(), event=kind)
