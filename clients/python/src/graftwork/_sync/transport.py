"""Sends requests with the API key, again where that helps, and raises errors as exceptions."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import sleep
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from graftwork.answer import Answer, Json
from graftwork.connection import checked_key, checked_url, trust_for
from graftwork.doubts import Doubts
from graftwork.errors import GraftworkApiError
from graftwork.retries import Retries, problem_of, timeout

PAGE_SIZE = 100
SECONDS, UPLOAD_SECONDS = 60.0, 600.0

Sleep: TypeAlias = Callable[[float], object]
AnswerType = TypeVar("AnswerType", bound=Answer)


class Transport:
    """One connection pool. Every request may be sent again: those that create something carry an Idempotency-Key.

    A route is "METHOD /path" as OpenAPI has it, its parameters in braces; the values for them follow it, in order.
    """

    def __init__(
        self,
        url: str | None,
        key: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = sleep,
    ) -> None:
        self.url = checked_url(url)
        headers = {"Authorization": f"Bearer {checked_key(key)}", "Accept": "application/json"}
        trust = trust_for(self.url)
        self._http = httpx.Client(base_url=self.url, headers=headers, transport=transport, verify=trust)
        self.sleep = sleep
        self.doubts = Doubts()
        self._contacted = False

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ask(self, answer: type[AnswerType], route: str, *parts: str, **options: Any) -> AnswerType:
        """Return the answer to a request that may be repeated; `options` are those of `send`."""
        return answer.from_json(self.send(route, *parts, **options))

    def create(self, answer: type[AnswerType], route: str, *parts: str, **options: Any) -> AnswerType:
        """Create something, only once however often the request is sent."""
        headers = {"Idempotency-Key": str(uuid.uuid4()), **options.pop("headers", {})}
        return answer.from_json(self.send(route, *parts, headers=headers, **options))

    def data(self, answer: type[AnswerType], route: str, *parts: str, **options: Any) -> list[AnswerType]:
        """Return the entries of a list that is answered whole."""
        return [answer.from_json(entry) for entry in (self.send(route, *parts, **options))["data"]]

    def items(
        self, answer: type[AnswerType], route: str, filters: Mapping[str, Any], *parts: str
    ) -> Iterator[AnswerType]:
        """Yield the entries of a list, page by page, from `after` on; `limit` is the size of a page."""
        query = {"limit": PAGE_SIZE, **filters}
        while True:
            page = self.send(route, *parts, query=query)
            for entry in page["data"]:
                yield answer.from_json(entry)
            if not page["has_more"]:
                return
            query["after"] = page["last_id"]

    def send(
        self, route: str, *parts: str, query: Mapping[str, Any] | None = None, seconds: float = SECONDS, **options: Any
    ) -> Json:
        """Return the decoded response, {} for an empty one; `seconds` are waited for its next bytes.

        Raises:
            GraftworkApiError: the service refused the request.
            UnreachableError: the service could not be reached.
        """
        method, path = request_line(route, *parts)
        retries, answer_lost = self.retries(), False
        while True:
            try:
                response = self._http.request(
                    method,
                    path,
                    params=given(query or {}),
                    timeout=timeout(seconds, contacted=self._contacted),
                    **options,
                )
            except httpx.TransportError as error:
                answer_lost = answer_lost or not isinstance(error, httpx.ConnectError)
                self.sleep(retries.pause_after(error))
                continue
            self._contacted = True
            if method == "DELETE" and answer_lost and response.status_code == httpx.codes.NOT_FOUND:
                return {}  # the attempt whose answer was lost has deleted it
            if response.is_success:
                decoded: Json = response.json() if response.content else {}
                self.doubts.report(decoded)
                return decoded
            self.sleep(retries.pause_after(problem_of(response)))

    def retries(self) -> Retries:
        """Return the attempts of a new request."""
        return Retries(self.url, contacted=self._contacted)

    @contextmanager
    def stream(
        self, route: str, *parts: str, query: Mapping[str, Any] | None = None, seconds: float = SECONDS, **options: Any
    ) -> Iterator[httpx.Response]:
        """Open a response whose body is read piece by piece; nothing is sent again."""
        method, path = request_line(route, *parts)
        limits = timeout(seconds, contacted=self._contacted)
        with self._http.stream(method, path, params=given(query or {}), timeout=limits, **options) as response:
            self._contacted = True
            if not response.is_success:
                response.read()
                raise problem_of(response)
            yield response

    def read(self, route: str, *parts: str, **options: Any) -> bytes:
        """Return the body of a response as it came.

        Raises:
            GraftworkApiError: the service refused the request.
            UnreachableError: the service could not be reached.
        """
        retries = self.retries()
        while True:
            try:
                with self.stream(route, *parts, **options) as response:
                    return response.read()
            except (httpx.TransportError, GraftworkApiError) as error:
                self.sleep(retries.pause_after(error))


def request_line(route: str, *parts: str) -> tuple[str, str]:
    """Return the method and the path of a route, each part quoted."""
    method, _, path = route.partition(" ")
    for part in parts:
        before, _, rest = path.partition("{")
        path = before + quote(part, safe="@") + rest.partition("}")[2]
    return method, path


def given(query: Mapping[str, Any]) -> Json:
    """Return the parameters of a query that are not None, times as ISO 8601."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in query.items()
        if value is not None
    }
