"""The events of all jobs of a project: /v1/events."""

from collections import deque
from collections.abc import Iterator, Mapping

import httpx
from httpx_sse import EventSource, ServerSentEvent

from graftwork import answers
from graftwork._sync.transport import Transport
from graftwork.errors import GraftworkApiError

_REMEMBERED = 10_000  # ids of events of the last seconds


class ProjectEvents:
    """Lists and follows the events of all jobs."""

    _transport: Transport

    def all_events(
        self,
        *,
        after: str | None = None,
        kind: str | None = None,
        type: str | None = None,  # noqa: A002 - its name
        limit: int = 1000,
    ) -> Iterator[answers.ProjectEvent]:
        """Yield the events of all jobs so far, by time, those after event `after`; `limit` is the size of a page."""
        while True:
            query = {"after": after, "kind": kind, "type": type, "limit": limit}
            page = self._transport.send("GET /v1/events", query=query)
            for event in page["data"]:
                yield answers.ProjectEvent.from_json(event)
            if not page["has_more"]:
                return
            after = page["data"][-1]["id"]

    def follow_all(
        self,
        *,
        after: str | None = None,
        kind: str | None = None,
        type: str | None = None,  # noqa: A002 - its name
    ) -> Iterator[answers.ProjectEvent]:
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
                for event in self._stream_all(after, {"kind": kind, "type": type}):
                    retries.succeeded()
                    after = event.id or after
                    if event.data and event.id not in seen:  # a stream that goes on repeats the last seconds
                        seen.append(event.id)
                        yield answers.ProjectEvent.from_json(event.json())
            except (httpx.TransportError, GraftworkApiError) as error:
                self._transport.sleep(retries.pause_after(error))

    def _stream_all(self, after: str | None, query: Mapping[str, str | None]) -> Iterator[ServerSentEvent]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        with self._transport.stream("GET /v1/events", query=query, headers=headers) as response:
            for event in EventSource(response).iter_sse():
                yield event
