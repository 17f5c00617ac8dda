"""Sends requests: with the key, again after a broken connection or a 503, and with errors as exceptions."""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpx

from app.client.errors import GraftworkApiError, UnreachableError

ATTEMPTS = 7  # about 13 s in all: a restart of the service takes less
FIRST_PAUSE = 0.25
MAX_PAUSE = 5.0
TIMEOUT = httpx.Timeout(60, connect=10)

Json: TypeAlias = dict[str, Any]
Sleep: TypeAlias = Callable[[float], None]


class Transport:
    """One connection pool. Every request may be repeated: creating ones carry an Idempotency-Key."""

    def __init__(
        self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT, transport=transport)
        self.sleep = sleep

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        """Return a resource; parameters that are None are left out."""
        return self.send("GET", path, params={name: value for name, value in query.items() if value is not None})

    def create(self, path: str, **options: Any) -> Json:
        """Create something, once however often the request is repeated."""
        return self.send("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())}, **options)

    def send(self, method: str, path: str, **options: Any) -> Json:
        """Return the decoded answer, {} where it is empty.

        Raises:
            GraftworkApiError: the service has refused.
            UnreachableError: it could not be reached.
        """
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                self.pause_or_raise(attempt, error)
                continue
            if answer.is_success:
                decoded: Json = answer.json() if answer.content else {}
                return decoded
            problem = api_error(answer)
            if last or not _worth_repeating(problem):
                raise problem
            self.sleep(_pause(attempt, answer))
        msg = "unreachable: the last attempt returns or raises"
        raise AssertionError(msg)

    def pause_or_raise(self, attempt: int, error: httpx.TransportError | GraftworkApiError) -> None:
        """Wait before the next attempt, if there is one."""
        if isinstance(error, GraftworkApiError):
            if attempt >= ATTEMPTS or not _worth_repeating(error):
                raise error
        elif attempt >= ATTEMPTS:
            msg = f"The service could not be reached: {type(error).__name__}: {error}"
            raise UnreachableError(msg) from error
        self.sleep(_pause(attempt, None))

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Open an answer that is read piece by piece. Nothing is repeated."""
        with self._http.stream("GET", path, **options) as answer:
            if not answer.is_success:
                answer.read()
                raise api_error(answer)
            yield answer


def api_error(answer: httpx.Response) -> GraftworkApiError:
    """Return the error that an answer is; one that a proxy made has no problem details."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": answer.text[:500]}
    return GraftworkApiError(answer.status_code, problem)


def _worth_repeating(error: GraftworkApiError) -> bool:
    return error.status == httpx.codes.SERVICE_UNAVAILABLE


def _pause(attempt: int, answer: httpx.Response | None) -> float:
    """Twice as long each time, or as long as the service says; a little random, so that clients spread out."""
    retry_after = answer.headers.get("retry-after", "") if answer is not None else ""
    seconds = float(retry_after) if retry_after.isdecimal() else FIRST_PAUSE * 2 ** (attempt - 1)
    return min(seconds, MAX_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
