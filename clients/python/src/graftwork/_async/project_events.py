"""The events of all jobs of a project: /v1/events."""

from collections import deque
from collections.abc import AsyncIterator, Mapping

import httpx
from httpx_sse import EventSource, ServerSentEvent

from graftwork import answers
from graftwork._async.transport import AsyncTransport
from graftwork.errors import GraftworkApiError

_REMEMBERED = 10_000  # ids of events of the last seconds


class AsyncProjectEvents:
    """Lists and follows the events of all jobs."""

    _transport: AsyncTransport

    async def all_events(
        self,
        *,
        after: str | None = None,
        kind: str | None = None,
        type: str | None = None,  # noqa: A002 - its name
        limit: int = 1000,
    ) -> AsyncIterator[answers.ProjectEvent]:
        """Yield the events of all jobs so far, by time, those after event `after`; `limit` is the size of a page."""
        while True:
            query = {"after": after, "kind": kind, "type": type, "limit": limit}
            page = await self._transport.send("GET /v1/events", query=query)
            for event in page["data"]:
                yield answers.ProjectEvent.from_json(event)
            if not page["has_more"]:
                return
            after = page["data"][-1]["id"]

    async def follow_all(
        self,
        *,
        after: str | None = None,
        kind: str | None = None,
        type: str | None = None,  # noqa: A002 - its name
    ) -> AsyncIterator[answers.ProjectEvent]:
        """Yield the events of all jobs of the project as they happen, each once, until you stop.

        A broken stream, or one that the service refuses temporarily, is resumed after the last event received.

        Args:
            after: The `id` of an event, to begin after it; None: from now on.
            kind: Only events of jobs of this kind.
            type: Only events of this type, such as "job.succeeded".
        """
        retries, seen = self._transport.retries(), deque[str](maxlen=_REMEMBERED)
        while True:
            try:
                async for event in self._stream_all(after, {"kind": kind, "type": type}):
                    retries.succeeded()
                    after = event.id or after
                    if event.data and event.id not in seen:  # a stream that goes on repeats the last seconds
                        seen.append(event.id)
                        yield answers.ProjectEvent.from_json(event.json())
            except (httpx.TransportError, GraftworkApiError) as error:
                await self._transport.sleep(retries.pause_after(error))

    async def _stream_all(self, after: str | None, query: Mapping[str, str | None]) -> AsyncIterator[ServerSentEvent]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        async with self._transport.stream("GET /v1/events", query=query, headers=headers) as response:
            async for event in EventSource(response).aiter_sse():
                yield event
