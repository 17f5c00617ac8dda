"""Clients that take all the time in the world are cut; one that is slow and steady is not."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from app.cli.api import KEEP_ALIVE_SECONDS
from app.settings import Settings
from tests.support.servers import HANGS, KEY, Service, service, wait_until
from tests.support.work import run_jobs

SECONDS, RATE = 1.5, 1024
REPEATED = 200  # answers that are asked for at once
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An API that may open few files."""
    with service(tmp_path_factory.mktemp("service"), receive_seconds=SECONDS, receive_rate=RATE) as started:
        assert started.run("migrate").wait(HANGS) == 0
        started.run("api", "--port", str(started.port), open_files=64)
        started.wait_ready()
        yield started


def drip(running: Service, start: bytes, piece: bytes, pause: float) -> float:
    """Send a piece at a time until the connection is cut; return after how many seconds it was."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", running.port), timeout=0.01) as connection:
        connection.sendall(start)
        while time.monotonic() - began < HANGS:
            try:
                connection.sendall(piece)
                if connection.recv(1000) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            time.sleep(pause)
    return time.monotonic() - began


DRIPPED = {
    "nothing": (b"", b""),
    "request line": (b"GET /v1/jo", b"b"),
    "headers": (f"GET /v1/jobs HTTP/1.1\r\n{HEAD}".encode(), b"X-A: 1\r\n"),
    "body": (f"POST /v1/jobs HTTP/1.1\r\n{HEAD}Content-Length: 5000\r\n\r\n".encode(), b" "),
    "second request": (f"GET /health/live HTTP/1.1\r\n{HEAD}\r\nGET /v".encode(), b"1"),
}


@pytest.mark.parametrize("part", DRIPPED)
def test_what_drips_is_cut(running: Service, part: str) -> None:
    start, piece = DRIPPED[part]
    assert SECONDS / 2 < drip(running, start, piece, 0.2) < HANGS


def test_a_head_that_has_no_end_is_refused(running: Service) -> None:
    """However fast it comes, and though each of its lines is short."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=HANGS) as connection:
        connection.sendall(f"GET /v1/jobs HTTP/1.1\r\n{HEAD}".encode())
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
        with suppress(ConnectionError):
            assert connection.recv(100).startswith(b"HTTP/1.1 431 ")


def test_a_steady_upload_is_not(running: Service) -> None:
    """Four times as long as a head may take, twice as fast as it must be."""
    rows = b"a,b\n" + b"1,2\n3,4\n" * 1500
    form = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nslow\r\n'
    form += b'--x\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n' + rows + b"\r\n--x--\r\n"

    def slowly() -> Iterator[bytes]:
        for begin in range(0, len(form), RATE // 2):
            yield form[begin : begin + RATE // 2]
            time.sleep(0.25)

    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=x"}
    began = time.monotonic()
    answer = httpx.post(f"{running.url}/v1/datasets", content=slowly(), headers=headers, trust_env=False, timeout=HANGS)
    assert answer.status_code == 202, answer.text
    assert time.monotonic() - began > 3 * SECONDS


def test_who_reads_nothing_is_cut(running: Service) -> None:
    """An answer larger than all the buffers in between, asked for and never read."""
    path = "/openapi.json"
    whole = httpx.get(running.url + path, trust_env=False, timeout=HANGS)
    assert whole.status_code == 200
    with socket.create_connection(("127.0.0.1", running.port), timeout=HANGS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode() * REPEATED)
        wait_until(lambda: held(running, connection), "it is accepted")
        wait_until(lambda: not held(running, connection), "it is cut")
        received = 0
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                received += len(piece)
    assert received < REPEATED * len(whole.content) / 2, "the answers came after all"


def held(running: Service, connection: socket.socket) -> bool:
    """Tell whether the API has its end of a connection still."""
    port = connection.getsockname()[1]
    api = psutil.Process(running.processes[-1].pid)
    return any(other.raddr and other.raddr.port == port for other in api.net_connections("tcp"))


def test_requests_one_after_the_other_are_not_cut(running: Service) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False) as client:
        for _ in range(4):
            assert client.get("/v1/jobs").status_code == 200
            time.sleep(1)


def live_answer(connection: socket.socket) -> bytes:
    """Read one whole answer of /health/live: its head and its body may come in packets of their own."""
    answer = b""
    while not answer.endswith(b"}") and (packet := connection.recv(1 << 16)):
        answer += packet
    return answer


def test_a_request_that_comes_while_the_api_is_held_up_is_answered(running: Service) -> None:
    """The API's own delay is not its client's: neither in the midst of a head, nor between two requests."""
    head = f"GET /health/live HTTP/1.1\r\n{HEAD}\r\n".encode()
    address = ("127.0.0.1", running.port)
    with (
        socket.create_connection(address, timeout=HANGS) as begun,
        socket.create_connection(address, timeout=HANGS) as idle,
    ):
        idle.sendall(head)
        assert live_answer(idle).startswith(b"HTTP/1.1 200")
        begun.sendall(head[:20])
        running.processes[-1].send_signal(signal.SIGSTOP)
        try:
            idle.sendall(head)
            begun.sendall(head[20:])
            time.sleep(KEEP_ALIVE_SECONDS + 1)
        finally:
            running.processes[-1].send_signal(signal.SIGCONT)
        for connection in (idle, begun):
            assert live_answer(connection).startswith(b"HTTP/1.1 200")


def test_the_log_of_events_may_be_followed_for_long(running: Service) -> None:
    """Nothing is asked of a client that waits for an answer."""
    with running.client() as graftwork:
        made = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows", wait=False)
        run_jobs(Settings(data=running.folder / "data"))
        waits = {"resources": {"device": "cuda"}, "training": {"steps": 1}}
        job = graftwork.jobs.create(kind="pretraining", dataset=made["id"], **waits)["id"]
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
    url = f"{running.url}/v1/jobs/{job}/events"
    with (
        httpx.stream("GET", url, headers=headers, trust_env=False, timeout=3 * SECONDS) as answer,
        pytest.raises(httpx.ReadTimeout),  # it is still open, and nothing happens
    ):
        list(answer.iter_lines())


def test_an_api_that_may_open_few_files_outlives_many_connections(running: Service) -> None:
    """They get 503 or are hung up on, and once they are cut all is as before."""
    with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=HANGS) as known:
        assert known.get(f"{running.url}/v1/jobs").status_code == 200
        crowd = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(300)]
        assert known.get(f"{running.url}/v1/jobs").status_code in (200, 503)
        wait_until(lambda: well(f"{running.url}/health/ready"), "it answers again")
        assert known.get(f"{running.url}/v1/jobs").status_code == 200
    for one in crowd:
        one.close()
    assert running.processes[-1].poll() is None


def well(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).is_success
    return False
