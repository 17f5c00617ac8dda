"""Clients that take all the time in the world are cut; one that is slow and steady is not."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.servers import KEY, Service, service, wait_until

SECONDS, RATE = 1.5, 1024
REPEATED = 200  # answers that are asked for at once
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), receive_seconds=SECONDS, receive_rate=RATE) as started:
        yield started.up()


def drip(running: Service, start: bytes, piece: bytes, pause: float, most: float = 12) -> float:
    """Send a piece at a time until the connection is cut; return after how many seconds it was."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", running.port), timeout=0.01) as connection:
        connection.sendall(start)
        while time.monotonic() - began < most:
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
    assert SECONDS / 2 < drip(running, start, piece, 0.2) < 3 * SECONDS + 3


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
    answer = httpx.post(f"{running.url}/v1/datasets", content=slowly(), headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 202, answer.text
    assert time.monotonic() - began > 3 * SECONDS


def test_who_reads_nothing_is_cut(running: Service) -> None:
    """An answer larger than all the buffers in between, asked for and never read."""
    path = "/openapi.json"
    whole = httpx.get(running.url + path, trust_env=False)
    assert whole.status_code == 200
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode() * REPEATED)
        time.sleep(3 * SECONDS + 8)
        received = 0
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                received += len(piece)
    assert received < REPEATED * len(whole.content) / 2, "the answers came after all"


def test_requests_one_after_the_other_are_not_cut(running: Service) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False) as client:
        for _ in range(4):
            assert client.get("/v1/jobs").status_code == 200
            time.sleep(1)


def test_the_log_of_events_may_be_followed_for_long(running: Service) -> None:
    """Nothing is asked of a client that waits for an answer."""
    with running.client() as graftwork:
        dataset = graftwork.datasets.create({"x": [[float(n), 1.0] for n in range(30)]}, name="rows")["id"]
        waits = {"resources": {"device": "cuda"}, "training": {"steps": 1}}
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, **waits)["id"]
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
    url = f"{running.url}/v1/jobs/{job}/events"
    with (
        httpx.stream("GET", url, headers=headers, trust_env=False, timeout=3 * SECONDS) as answer,
        pytest.raises(httpx.ReadTimeout),  # it is still open, and nothing happens
    ):
        list(answer.iter_lines())


def test_an_api_that_may_open_few_files_outlives_many_connections(tmp_path: Path) -> None:
    """They get 503 or are hung up on, and once they are cut all is as before."""
    with service(tmp_path, receive_seconds=SECONDS) as limited:
        assert limited.run("migrate").wait(60) == 0
        limited.run("api", "--port", str(limited.port), open_files=64)
        limited.wait_ready()
        with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=20) as known:
            assert known.get(f"{limited.url}/v1/jobs").status_code == 200
            crowd = [socket.create_connection(("127.0.0.1", limited.port)) for _ in range(300)]
            assert known.get(f"{limited.url}/v1/jobs").status_code in (200, 503)
            wait_until(lambda: well(f"{limited.url}/health/ready"), "it answers again", 10 * SECONDS)
            assert known.get(f"{limited.url}/v1/jobs").status_code == 200
        for one in crowd:
            one.close()
        assert limited.processes[-1].poll() is None


def well(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).is_success
    return False
