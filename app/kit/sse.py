"""Server-sent events: answers that go on while they are sent."""

from collections.abc import AsyncIterator, Iterator

from fastapi.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"
# No cache keeps a stream, and no proxy (nginx, by its own name for it) holds events back to send them together.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event_stream(events: AsyncIterator[bytes] | Iterator[bytes]) -> StreamingResponse:
    """Send events as they come; where the client hangs up, no more of them are asked for.

    The steps of a plain iterator run in threads.
    """
    return StreamingResponse(events, media_type=MEDIA_TYPE, headers=HEADERS)


def is_asked_for(accept: str) -> bool:
    """Whether an Accept header asks for server-sent events."""
    return MEDIA_TYPE in accept.lower()
