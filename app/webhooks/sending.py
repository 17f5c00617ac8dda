"""One attempt to deliver a message: one POST to a checked address, within a time, and little of its answer is read.

No HTTP client is used: each resolves names by itself, and times out by the read, so that a receiver that drips bytes
would hold it for ever.
"""

import os
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import h11
import httpx

from app.webhooks.addresses import Address, Policy, RefusedAddressError, Target, UnresolvedError, parse

SECONDS = 5.0  # of a whole attempt: name, connection, TLS, answer
MAX_ANSWER_BYTES = 64 << 10  # that are read of an answer, its head among them
_PART_BYTES = 8 << 10
_FIRST_OK, _FIRST_REDIRECT, _FIRST_ERROR = 200, 300, 400
_PATIENCE = (429, 503)  # whose Retry-After is honoured


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt; `error` is None where the receiver answered 2xx."""

    status: int | None
    error: str | None
    seconds: float
    retry_after: float | None = None


class _BadAnswerError(Exception):
    """The receiver's answer cannot be understood."""


class _TooLateError(Exception):
    """The time of the attempt is over."""


def attempt(url: str, headers: Mapping[str, str], body: bytes, policy: Policy) -> Outcome:
    """Send a message once. The outcome says whatever goes wrong."""
    began = time.monotonic()
    try:
        response = _exchange(parse(url), headers, body, policy, began + SECONDS)
    except (RefusedAddressError, UnresolvedError, OSError, _TooLateError, _BadAnswerError, h11.ProtocolError) as error:
        return Outcome(None, _explanation(error), time.monotonic() - began)
    status = response.status_code
    retry_after = _retry_after(response) if status in _PATIENCE else None
    return Outcome(status, _complaint(status), time.monotonic() - began, retry_after)


def _explanation(error: Exception) -> str:
    """Say why there was no answer."""
    match error:
        case RefusedAddressError() | UnresolvedError():
            return f"Not sent: {error}."
        case TimeoutError() | _TooLateError():
            return f"It did not answer within {SECONDS:.0f} s."
        case ssl.SSLCertVerificationError():
            return f"Its certificate is not valid: {error.verify_message}."
        case ssl.SSLError():
            return f"TLS failed: {error.reason or 'the connection ended'}."
        case OSError():
            return f"It cannot be reached: {(error.strerror or 'the connection ended').lower()}."
        case _:
            return "What it answered is no HTTP."


def _complaint(status: int) -> str | None:
    if _FIRST_OK <= status < _FIRST_REDIRECT:
        return None
    if _FIRST_REDIRECT <= status < _FIRST_ERROR:
        return f"It answered {status}, a redirect, and none is followed: give the webhook the address it leads to."
    return f"It answered {status}."


def _exchange(target: Target, headers: Mapping[str, str], body: bytes, policy: Policy, deadline: float) -> h11.Response:
    addresses = policy.addresses(target, deadline - time.monotonic())
    with _connected(target, addresses, deadline) as connection:
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_BYTES)
        fields = {"host": target.authority, **headers, "content-length": str(len(body)), "connection": "close"}
        request = h11.Request(method="POST", target=target.path, headers=list(fields.items()))
        parts = (protocol.send(request), protocol.send(h11.Data(body)), protocol.send(h11.EndOfMessage()))
        _give_time(connection, deadline)
        connection.sendall(b"".join(part or b"" for part in parts))
        return _response(connection, protocol, deadline)


def _connected(target: Target, addresses: list[Address], deadline: float) -> socket.socket:
    """Return a connection to the first address that takes one, by TLS under the name of the target for https."""
    problem: OSError | None = None
    for address in addresses:
        try:
            plain = socket.create_connection((str(address), target.port), timeout=_left(deadline))
        except TimeoutError:
            raise
        except OSError as error:
            problem = error
            continue
        if target.scheme == "http":
            return plain
        try:
            _give_time(plain, deadline)
            return _tls(os.environ.get("SSL_CERT_FILE")).wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise
    raise problem or OSError


@lru_cache
def _tls(_authorities: str | None) -> ssl.SSLContext:
    """Return the context of connections, under certifi's authorities or those of this file: it takes long to make."""
    return httpx.create_ssl_context()


def _response(connection: socket.socket, protocol: h11.Connection, deadline: float) -> h11.Response:
    """Read the head of the answer, and up to a limit its body, which is discarded."""
    response: h11.Response | None = None
    size = 0
    while size < MAX_ANSWER_BYTES:
        event = protocol.next_event()
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
        elif event is h11.NEED_DATA:
            try:
                _give_time(connection, deadline)
                part = connection.recv(_PART_BYTES)
                protocol.receive_data(part)
            except (OSError, _TooLateError):
                if response is None:
                    raise
                break  # what it says is known
            size += len(part)
        elif event is h11.PAUSED:
            break
    if response is None:
        raise _BadAnswerError
    return response


def _left(deadline: float) -> float:
    """Return the seconds that are left. Raises _TooLateError where none is."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise _TooLateError
    return left


def _give_time(connection: socket.socket, deadline: float) -> None:
    connection.settimeout(_left(deadline))


def _retry_after(response: h11.Response) -> float | None:
    """Return the seconds that the receiver asks to wait: a number of them, or a date; None for anything else."""
    value = next((value for name, value in response.headers if name == b"retry-after"), b"").decode("latin-1").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
