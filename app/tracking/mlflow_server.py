"""An MLflow tracking server, asked by its REST API 2.0 (https://mlflow.org/docs/latest/rest-api.html).

Where a request names the server, its address is judged as a webhook's is, and the connection goes to exactly the
address that was judged. Redirects are not followed, and an answer is read up to a limit.
"""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
from pydantic import SecretStr

from app.webhooks.addresses import Address, Policy, RefusedAddressError, Target, UnresolvedError, parse

SECONDS = 60.0  # for all that is asked for one job
_CONNECT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 32 << 20
_PLAIN = {"Accept-Encoding": "identity"}  # what is compressed may become any size
_MAX_QUOTED = 300
_FIRST_REDIRECT, _FIRST_ERROR, _FIRST_FAULT = 300, 400, 500


class TrackingError(Exception):
    """The server was not reached, or refuses; the message says why and what to do.

    `again` says whether the same may succeed later; `code` is MLflow's own word for a refusal.
    """

    def __init__(self, message: str, *, again: bool, code: str = "") -> None:
        super().__init__(message)
        self.again, self.code = again, code


class RefusedServerError(TrackingError):
    """The service does not send to such an address, whoever answers there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, again=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What MLflow is shown: a bearer token, or a user name with a password."""

    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The header Authorization, where there is a token."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token.get_secret_value()}"}

    @property
    def basic(self) -> httpx.BasicAuth | None:
        """User name and password, where there are any and no token."""
        if self.token is not None or self.username is None:
            return None
        return httpx.BasicAuth(self.username, self.password.get_secret_value() if self.password else "")


class TrackingServer:
    """A server that answers within `SECONDS` altogether."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._deadline = time.monotonic() + SECONDS

    @classmethod
    @contextmanager
    def trusted(cls, url: str, credentials: Credentials) -> Iterator[Self]:
        """Talk to the server that whoever runs the service has named, wherever it is."""
        with httpx.Client(
            base_url=url,
            headers=_PLAIN | credentials.headers,
            auth=credentials.basic,
            timeout=_CONNECT_SECONDS,
            trust_env=False,
        ) as client:
            yield cls(client)

    @classmethod
    @contextmanager
    def named_by_request(cls, url: str, credentials: Credentials, policy: Policy) -> Iterator[Self]:
        """Talk to a server that a request names. Raises RefusedServerError for an address that is not sent to."""
        target, address = _checked(url, policy)
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004
        with httpx.Client(
            base_url=f"{target.scheme}://{host}:{target.port}{target.path}",
            headers={**_PLAIN, **credentials.headers, "Host": target.authority},
            auth=credentials.basic,
            timeout=_CONNECT_SECONDS,
            trust_env=False,
        ) as client:
            client.event_hooks["request"].append(lambda request: _name_host(request, target.host))
            yield cls(client)

    def ask(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the JSON of its answer.

        Raises:
            TrackingError: the server cannot be reached, refuses, or takes too long.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            msg = f"it took more than {SECONDS:.0f} s; what was sent stays: repeat the request, which goes on there"
            raise TrackingError(msg, again=True)
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        query, content = (body, None) if method == "GET" else (None, body)
        try:
            with self._client.stream(
                method, f"api/2.0/mlflow/{path}", params=query, json=content, timeout=timeout
            ) as response:
                return _answer(response, self._deadline)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"it cannot be reached ({type(error).__name__}): check the URL, and that the server runs"
            raise TrackingError(msg, again=True) from None


def _checked(url: str, policy: Policy) -> tuple[Target, Address]:
    """Return a URL's parts and an address that takes connections. Raises TrackingError."""
    try:
        target = parse(url)
        addresses = policy.addresses(target, _CONNECT_SECONDS)
    except RefusedAddressError as error:
        raise RefusedServerError(str(error)) from None
    except UnresolvedError as error:
        raise TrackingError(str(error), again=True) from None
    for address in addresses:
        try:
            socket.create_connection((str(address), target.port), timeout=_CONNECT_SECONDS).close()
        except OSError:
            continue
        return target, address
    msg = "nothing answers at its address: check the URL, and that the server runs"
    raise TrackingError(msg, again=True)


def _name_host(request: httpx.Request, host: str) -> None:
    """Let TLS ask for, and check, the certificate of the name, though the connection goes to an address."""
    request.extensions["sni_hostname"] = host


def _answer(response: httpx.Response, deadline: float) -> dict[str, Any]:
    content = bytearray()
    for part in response.iter_raw():
        content += part
        if len(content) > _MAX_ANSWER_BYTES or time.monotonic() > deadline:
            msg = "its answer is too large or too slow to be MLflow's: check the URL"
            raise TrackingError(msg, again=False)
    if response.status_code >= _FIRST_ERROR:
        raise _refusal(response.status_code, bytes(content))
    if response.status_code >= _FIRST_REDIRECT:
        msg = f"it answers {response.status_code}, a redirect, and none is followed: name the address it leads to"
        raise TrackingError(msg, again=False)
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        msg = "what it answers is not MLflow's: check the URL, whose path is the one before /api/2.0/mlflow"
        raise TrackingError(msg, again=False)
    return answer


def _refusal(status: int, content: bytes) -> TrackingError:
    """Return the error of an answer; only what has MLflow's form is quoted."""
    try:
        answer = json.loads(content)
        code, message = str(answer["error_code"]), str(answer.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", ""
    quoted = f" {code}: {message[:_MAX_QUOTED]}" if code else ""
    remedies = {
        401: "give a token, or username and password",
        403: "ask for the permission to write to this experiment",
        404: "check the URL, whose path is the one before /api/2.0/mlflow",
    }
    remedy = "" if code and status not in (401, 403) else remedies.get(status, "")
    return TrackingError(
        f"it answers {status}{quoted}{f' ({remedy})' if remedy else ''}", again=status >= _FIRST_FAULT, code=code
    )
