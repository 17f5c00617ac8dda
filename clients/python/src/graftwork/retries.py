"""When a request is sent again, and after how long: what sync and async clients share."""

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from graftwork.errors import GraftworkApiError, UnreachableError, api_error

MAX_ATTEMPTS = 7  # about 13 s in all: a restart of the service takes less
FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 5.0
MAX_WAIT_SECONDS = 60.0  # in all pauses of one request, where the service says by Retry-After how long they are
CONNECT_SECONDS = 10.0
FIRST_CONTACT_SECONDS = 1.5  # after which no further attempt is made where nothing has ever answered
FIRST_CONNECT_SECONDS = 2.5
BAD_GATEWAY = 502  # of a proxy whose service is restarting; the service itself has no such status


class Retries:
    """The attempts of one request: says after each that failed how long to pause, or raises its error."""

    def __init__(self, url: str, *, contacted: bool) -> None:
        self._url = url
        self._contacted = contacted
        self._begun = time.monotonic()
        self._failures = 0
        self._waited = 0.0

    def succeeded(self) -> None:
        """Begin anew: what is read piece by piece has gone on."""
        self._failures, self._waited, self._contacted = 0, 0.0, True

    def pause_after(self, error: httpx.TransportError | GraftworkApiError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            GraftworkApiError: the service refused, and another attempt cannot help, or has not helped.
            UnreachableError: the service could not be reached.
        """
        self._failures += 1
        retry_after = error.retry_after if isinstance(error, GraftworkApiError) else ""
        pause = _pause(self._failures, retry_after)
        if isinstance(error, GraftworkApiError):
            self._contacted = True
            waits_too_long = retry_after != "" and self._waited + pause > MAX_WAIT_SECONDS
            if self._failures >= MAX_ATTEMPTS or waits_too_long or not _is_temporary(error, retry_after):
                raise error
        elif self._failures >= MAX_ATTEMPTS or self._nothing_listens(error, pause):
            raise self.error_of(error) from error
        self._waited += pause
        return pause

    def error_of(self, error: httpx.TransportError | GraftworkApiError) -> GraftworkApiError | UnreachableError:
        """Return the error that is raised where no further attempt is made."""
        return error if isinstance(error, GraftworkApiError) else unreachable(self._url, error)

    def _nothing_listens(self, error: httpx.TransportError, pause: float) -> bool:
        """Whether the service has never answered this client, and cannot be connected to."""
        if self._contacted or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return False
        return time.monotonic() - self._begun + pause > FIRST_CONTACT_SECONDS


def timeout(seconds: float, *, contacted: bool) -> httpx.Timeout:
    """Return the timeouts of a request that waits so long for bytes; what never answered is not waited for long."""
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS if contacted else FIRST_CONNECT_SECONDS)


def unreachable(url: str, error: httpx.TransportError) -> UnreachableError:
    """Return the error that says what to do where a service cannot be reached."""
    cause = f"{type(error).__name__}: {error}".removesuffix(": ")
    if "SSL" in cause or "CERTIFICATE" in cause.upper():
        remedy = "if the service speaks plain HTTP, write http:// for https://; else its certificate must be trusted"
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        remedy = "is it running (`graftwork up`), and is this its address? The first argument or GRAFTWORK_URL says it"
    else:
        remedy = "the connection broke at each attempt; try again, and look at the service's log"
    return UnreachableError(f"no answer from {url}: {cause}", remedy=remedy)


def problem_of(response: httpx.Response) -> GraftworkApiError:
    """Turn an error response into an exception; a proxy's error page has no problem details, so its text is kept."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500]}
    return api_error(response.status_code, problem, response.headers.get("retry-after", ""))


def _is_temporary(error: GraftworkApiError, retry_after: str) -> bool:
    if error.status == httpx.codes.TOO_MANY_REQUESTS:
        return retry_after != ""
    return error.status in (httpx.codes.SERVICE_UNAVAILABLE, BAD_GATEWAY)


def _pause(failures: int, retry_after: str) -> float:
    """Return the seconds to wait: what Retry-After says, or else doubled after each attempt; 20 % more or less."""
    spread = random.random()  # noqa: S311 - spreads load, hides nothing
    asked = _seconds(retry_after)
    if asked is not None:
        return asked * (1 + 0.2 * spread)
    seconds: float = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), MAX_PAUSE_SECONDS)
    return seconds * (0.8 + 0.4 * spread)


def _seconds(retry_after: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, written as a number or as a date."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
