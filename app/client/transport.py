"""Sends requests with the API key, retries after a broken connection or a 503, and raises errors as exceptions."""

import random
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

from app.client.errors import GraftworkApiError, GraftworkWarning, UnreachableError

MAX_ATTEMPTS = 7  # about 13 s in all: a restart of the service takes less
FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 5.0
PAGE_SIZE = 100
TIMEOUT = httpx.Timeout(60, connect=10)

Json: TypeAlias = dict[str, Any]
Sleep: TypeAlias = Callable[[float], None]


class Transport:
    """One connection pool. Every request may be retried: those that create something carry an Idempotency-Key."""

    def __init__(
        self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT, transport=transport)
        self.sleep = sleep
        self._reported: set[str] = set()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        """Return a resource; query parameters that are None are left out."""
        return self.send("GET", path, params={name: value for name, value in query.items() if value is not None})

    def items(self, path: str, filters: Mapping[str, Any]) -> Iterator[Json]:
        """Yield the items of a list, page by page."""
        last_id = None
        while True:
            page = self.get(path, after=last_id, limit=PAGE_SIZE, **filters)
            yield from page["data"]
            if not page["has_more"]:
                return
            last_id = page["last_id"]

    def create(self, path: str, **options: Any) -> Json:
        """Create a resource, only once however often the request is retried."""
        return self.send("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())}, **options)

    def send(self, method: str, path: str, **options: Any) -> Json:
        """Return the decoded response, {} for an empty one.

        Raises:
            GraftworkApiError: the service refused the request.
            UnreachableError: the service could not be reached.
        """
        answer_lost = False
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                answer_lost = answer_lost or not isinstance(error, httpx.ConnectError)
                self.pause_or_raise(attempt, error)
                continue
            if method == "DELETE" and answer_lost and response.status_code == httpx.codes.NOT_FOUND:
                return {}  # the attempt whose answer was lost has deleted it
            if response.is_success:
                decoded: Json = response.json() if response.content else {}
                self._report_warnings(decoded)
                return decoded
            problem = api_error(response)
            if attempt == MAX_ATTEMPTS or not _is_temporary(problem):
                raise problem
            self.sleep(_pause(attempt, response))
        msg = "unreachable: the last attempt returns or raises"
        raise AssertionError(msg)

    def _report_warnings(self, answer: Json) -> None:
        """Issue the warnings of an answer as `GraftworkWarning`, each once."""
        for warning in answer.get("warnings") or ():
            remedy = f" ({warning['remedy']})" if warning.get("remedy") else ""
            message = f"{warning['code']}: {warning['message']}{remedy}"
            if message not in self._reported:
                self._reported.add(message)
                warnings.warn(message, GraftworkWarning, stacklevel=outside_the_client())

    def pause_or_raise(self, attempt: int, error: httpx.TransportError | GraftworkApiError) -> None:
        """Wait before the next attempt; raise `error` after the last one, or where another attempt cannot help."""
        if isinstance(error, GraftworkApiError):
            if attempt >= MAX_ATTEMPTS or not _is_temporary(error):
                raise error
        elif attempt >= MAX_ATTEMPTS:
            msg = f"The service could not be reached: {type(error).__name__}: {error}"
            raise UnreachableError(msg) from error
        self.sleep(_pause(attempt, None))

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Open a response whose body is read piece by piece; nothing is retried."""
        with self._http.stream("GET", path, **options) as response:
            if not response.is_success:
                response.read()
                raise api_error(response)
            yield response


def outside_the_client() -> int:
    """Return the `stacklevel` of the code that called the client, as seen from the caller of this function."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - as the warnings module itself does
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("app.client"):
        frame, level = frame.f_back, level + 1
    return level


def path_of(*parts: str) -> str:
    """Return the path of a resource, each part quoted."""
    return "/v1/" + "/".join(quote(part, safe="@") for part in parts)


def api_error(response: httpx.Response) -> GraftworkApiError:
    """Turn an error response into an exception; a proxy's error page has no problem details, so its text is kept."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500]}
    return GraftworkApiError(response.status_code, problem)


def _is_temporary(error: GraftworkApiError) -> bool:
    return error.status == httpx.codes.SERVICE_UNAVAILABLE


def _pause(attempt: int, response: httpx.Response | None) -> float:
    """Return the seconds to wait: doubled after each attempt, or what Retry-After says; plus or minus 20 %."""
    retry_after = response.headers.get("retry-after", "") if response is not None else ""
    seconds = float(retry_after) if retry_after.isdecimal() else FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
    return min(seconds, MAX_PAUSE_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
