"""One attempt, against real receivers that are slow, endless, wrong, or behind TLS."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from app.webhooks import sending
from app.webhooks.addresses import Policy
from app.webhooks.sending import MAX_ANSWER_BYTES, Outcome, attempt
from tests.support.receiver import Receiver, receiving

LOCAL = Policy.of(Settings(webhook_http=True, webhook_networks=["127.0.0.0/8", "::1/128"]))  # type: ignore[list-item] # as text
MANY = 1 << 16
HEADERS = {"webhook-id": "msg_1", "content-type": "application/json"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def send(url: str, policy: Policy = LOCAL) -> Outcome:
    return attempt(url, HEADERS, b"{}", policy)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_taken(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: status
    outcome = send(receiver.url)
    assert (outcome.status, outcome.error) == (status, None)
    (message,) = receiver.messages
    assert (message.body, message.headers["webhook-id"], message.path) == (b"{}", "msg_1", "/hook?of=tests")


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_any_other_answer_is_none(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: status
    assert (send(receiver.url).status, send(receiver.url).error) == (status, f"It answered {status}.")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    def redirect(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("location", receiver.url)
        handler.end_headers()

    receiver.answer = lambda _: redirect
    outcome = send(receiver.url)
    assert outcome.status == status
    assert "a redirect" in str(outcome.error)
    assert len(receiver.messages) == 1


def test_retry_after_is_read_as_seconds_or_as_a_date(receiver: Receiver) -> None:
    receiver.answer = lambda _: 503
    for value, seconds in (("120", 120), ("0", 0), ("soon", None), ("-5", None), ("1e3", None), ("²", None)):
        receiver.retry_after = value.encode("utf-8").decode("latin-1")
        assert send(receiver.url).retry_after == seconds, value
    receiver.retry_after = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600))
    assert send(receiver.url).retry_after == pytest.approx(600, abs=30)
    receiver.answer = lambda _: 500
    assert send(receiver.url).retry_after is None


def test_little_of_an_endless_answer_is_read(receiver: Receiver) -> None:
    """It says that it has 1 GB."""
    written = [0]

    def pour(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(1 << 30))
        handler.end_headers()
        while written[0] < 1 << 30:
            handler.wfile.write(b"x" * MANY)
            written[0] += MANY

    receiver.answer = lambda _: pour
    began = time.monotonic()
    assert send(receiver.url).status == 200
    assert time.monotonic() - began < sending.SECONDS
    assert written[0] < 64 * MAX_ANSWER_BYTES  # what the kernel takes without us


def served_raw(answer: Callable[[socket.socket], None]) -> tuple[socket.socket, str]:
    """A listener that answers its first connection in its own way."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(MANY)
                answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}/"


def drip(data: bytes) -> Callable[[socket.socket], None]:
    def run(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)
        time.sleep(10)

    return run


@pytest.mark.parametrize(
    "answer", [lambda _: time.sleep(10), drip(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000)], ids=["silent", "dripping"]
)
def test_a_slow_receiver_is_given_up(answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of the whole attempt: each byte comes in time."""
    monkeypatch.setattr(sending, "SECONDS", 0.5)
    listener, url = served_raw(answer)
    with closing(listener):
        began = time.monotonic()
        outcome = send(url)
        assert time.monotonic() - began < 3
    assert (outcome.status, "did not answer within" in str(outcome.error)) == (None, True)


def test_an_answer_that_does_not_end_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.5)

    def begin(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nxx")
        time.sleep(5)

    listener, url = served_raw(begin)
    with closing(listener):
        assert send(url).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"x" * (2 * MAX_ANSWER_BYTES),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9999,
    ],
    ids=["nothing", "ssh", "no-status", "no-end-of-head", "only-100s"],
)
def test_what_is_no_http_is_told(answer: bytes) -> None:
    listener, url = served_raw(lambda to: to.sendall(answer))
    with closing(listener):
        outcome = send(url)
    assert outcome.status is None
    assert outcome.error in ("What it answered is no HTTP.", "It cannot be reached: connection reset by peer.")


def test_a_closed_port_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/").error == "It cannot be reached: connection refused."


def test_a_refused_address_is_not_connected_to(receiver: Receiver) -> None:
    outcome = send(receiver.url, Policy.of(Settings(webhook_http=True)))
    assert "no public address" in str(outcome.error)
    assert receiver.messages == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that means another address at its second answer, as in DNS rebinding."""
    answers = ["127.0.0.1", "10.0.0.1"]
    asked = []

    def resolver(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host[0].isdigit():  # the address itself, as the connection spells it
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    url = f"http://rebinding.example:{receiver.port}/"
    assert send(url).status == 204
    assert receiver.messages[0].headers["host"] == f"rebinding.example:{receiver.port}"
    assert "no public address" in str(send(url).error)  # judged anew at each attempt
    assert asked == ["rebinding.example"] * 2
    assert len(receiver.messages) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return folder / "both.pem"


def test_tls_is_checked_under_the_name(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(certificate=certificate) as receiver:
        by_name, by_address = f"https://localhost:{receiver.port}/", f"https://127.0.0.1:{receiver.port}/"
        assert "certificate is not valid" in str(send(by_name).error)
        assert receiver.messages == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
        assert send(by_name).status == 204
        assert "certificate is not valid" in str(send(by_address).error)
        assert len(receiver.messages) == 1


def test_a_receiver_without_tls_is_told(receiver: Receiver) -> None:
    assert "TLS failed" in str(send(f"https://127.0.0.1:{receiver.port}/").error)
    assert ssl.HAS_TLSv1_3
