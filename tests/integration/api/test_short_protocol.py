"""Requests whose head is known are answered by the HTTP protocol itself, like all others in every way."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.ml.models.predictor import Predictor
from app.predictions.wire import PredictionWire
from tests.support.http import Http
from tests.support.live import served
from tests.support.models import add_model
from tests.support.servers import HANGS, wait_until

pytestmark = pytest.mark.one_database("sqlite")

URL = "/v1/models/sizes/predictions"
SOUND = {"inputs": [[3, 4, -5]]}
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture
def by_application(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry for each request that reaches the application."""
    asked: list[int] = []
    answer = PredictionWire.answer

    def counted(*arguments: Any) -> Any:
        asked.append(1)
        return answer(*arguments)

    monkeypatch.setattr(PredictionWire, "answer", counted)
    return asked


class Connection:
    """A connection that sends what it is told to."""

    def __init__(self, port: int, key: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HANGS)
        self.key = key

    def request(self, body: Any = None, *, url: str = URL, http: str = "1.1", **headers: str) -> bytes:
        """Return a request as it is sent."""
        content = body if isinstance(body, bytes) else json.dumps(SOUND if body is None else body).encode()
        lines = [f"POST {url} HTTP/{http}", "Host: 127.0.0.1", f"Authorization: Bearer {self.key}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content

    def answer(self) -> Answer:
        """Read one answer."""
        response = HTTPResponse(self.socket)
        response.begin()
        content = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, json.loads(content)

    def ask(self, body: Any = None, **options: Any) -> Answer:
        """Send a request, and read its answer."""
        self.socket.sendall(self.request(body, **options))
        return self.answer()


@pytest.fixture
def connect(app: FastAPI, services: Services, project_id: str, key: str) -> Iterator[Callable[[], Connection]]:
    """Connections to the application, which has answered once."""
    add_model(services, project_id, "sizes")
    with served(app) as port, ExitStack() as stack:

        def connected() -> Connection:
            connection = Connection(port, key)
            stack.callback(connection.socket.close)
            return connection

        assert connected().ask()[0] == 200
        yield connected


def is_all_given_back(services: Services) -> bool:
    shares = services.shares
    return (shares.requests.total, shares.arrived, shares.memory.held) == (0, 0, 0)


def test_a_known_head_is_answered_like_any_other(
    connect: Callable[[], Connection], services: Services, by_application: list[int]
) -> None:
    connection = connect()
    usual = connection.ask({**SOUND, "unknown": "warn"})  # a member more: the endpoint answers
    reached = len(by_application)
    assert reached
    answers = [connection.ask() for _ in range(20)]
    assert len(by_application) - reached < 10, "what a head means is looked up once a second"
    for status, headers, content in answers:
        assert (status, content) == (200, usual[2])
        assert headers.keys() == usual[1].keys()
        assert {**headers, "x-request-id": "", "date": ""} == {**usual[1], "x-request-id": "", "date": ""}
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 20
    assert connection.ask(x_request_id="mine")[1]["x-request-id"] == "mine"
    assert connection.ask(x_request_id="not one")[1]["x-request-id"].startswith("req_")
    assert is_all_given_back(services)


def test_what_is_wrong_is_the_endpoints(connect: Callable[[], Connection], services: Services) -> None:
    connection = connect()
    for body, status in (
        ({"inputs": [[3, 4]]}, 422),
        (b'{"inputs": [', 422),
        ({"inputs": [["a", 4, 5]]}, 422),
        ({"inputs": [[3, 4, -5]] * 20000}, 422),
        (b"", 422),
    ):
        wrong = connection.ask(body)
        assert wrong[0] == status, wrong
        assert wrong[1]["content-type"] == "application/problem+json"
        assert connection.ask()[0] == 200
    assert is_all_given_back(services)


def test_requests_behind_each_other_are_answered_in_order(connect: Callable[[], Connection]) -> None:
    connection = connect()
    bodies = [{"inputs": [[number, 4, -5]] * (1 + number % 3)} for number in range(12)]
    bodies[4] = {"inputs": [[1, 2]]}
    alone = [connection.ask(body)[2] for body in bodies]
    health = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    requests = [connection.request(body) for body in bodies]
    connection.socket.sendall(b"".join([*requests[:6], health, *requests[6:]]))
    reader = self_reading(connection, len(bodies) + 1)
    assert [status for status, _ in reader] == [200] * 4 + [422, 200, 200] + [200] * 6
    answers = [content for place, (_, content) in enumerate(reader) if place not in (4, 6)]
    assert answers == alone[:4] + alone[5:]


def self_reading(connection: Connection, count: int) -> list[tuple[int, Any]]:
    """Read so many answers that may have arrived together: `HTTPResponse` would lose what it has read ahead."""
    stream = connection.socket.makefile("rb")
    answers = []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        headers = dict(iter(lambda: tuple(stream.readline().decode().lower().rstrip().split(": ", 1)), ("",)))
        answers.append((status, json.loads(stream.read(int(headers["content-length"])))))
    return answers


@pytest.mark.parametrize("seed", range(5))
def test_any_requests_in_any_pieces_are_answered_in_order(connect: Callable[[], Connection], seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the pieces are to be the same again
    connection = connect()
    choices = [{"inputs": [[number, 4, -5]] * (1 + number % 3)} for number in range(8)]
    choices += [
        {"inputs": [[1, 2]]},
        {"inputs": [[1, 2, 3]], "unknown": "warn"},
        b"[",
        b'{"inputs": [[1, 2, 3]]}' + b" " * 99_000,
    ]
    alone = [connection.ask(body) for body in choices]
    chosen = [random.randrange(len(choices)) for _ in range(60)]
    sent = b"".join(connection.request(choices[place]) for place in chosen)
    writer = threading.Thread(target=send_in_pieces, args=(connection.socket, sent, random))
    writer.start()
    answers = self_reading(connection, len(chosen))
    writer.join()
    assert [status for status, _ in answers] == [alone[place][0] for place in chosen]
    for (status, content), place in zip(answers, chosen, strict=True):
        assert status != 200 or content == alone[place][2]


def send_in_pieces(receiver: socket.socket, content: bytes, random: Random) -> None:
    """Send bytes in pieces of any size; most are small."""
    start = 0
    while start < len(content):
        end = start + int(10 ** random.uniform(0, 5))
        receiver.sendall(content[start:end])
        start = end


def test_a_request_may_come_half_behind_another(connect: Callable[[], Connection]) -> None:
    connection = connect()
    bodies = [{"inputs": [[1, 2, 3]]}, {"inputs": [[90, 1, 5]]}]
    alone = [connection.ask(body)[2] for body in bodies]
    first, second = (connection.request(body) for body in bodies)
    connection.socket.sendall(first + second[:-9])
    answers = [connection.answer()[2]]
    connection.socket.sendall(second[-9:])
    answers.append(connection.answer()[2])
    assert answers == alone


@pytest.mark.parametrize("size", [0, 200_000])
def test_a_body_may_come_in_pieces(connect: Callable[[], Connection], by_application: list[int], size: int) -> None:
    connection = connect()
    connection.ask()
    content = json.dumps(SOUND).encode() + b" " * size
    whole = connection.request(content)
    before = len(by_application)
    for start in range(0, len(whole), max(1, len(whole) // 7)):
        connection.socket.sendall(whole[start : start + max(1, len(whole) // 7)])
    assert connection.answer()[0] == 200
    assert len(by_application) - before <= 1


def test_a_connection_that_is_to_close_is_closed(connect: Callable[[], Connection]) -> None:
    for options in ({"http": "1.0"}, {"connection": "close"}):
        connection = connect()
        connection.socket.sendall(connection.request(**options))
        with connection.socket.makefile("rb") as stream:
            assert stream.read().startswith(b"HTTP/1.1 200 "), "it ends"


def test_a_client_that_goes_leaves_nothing_behind(connect: Callable[[], Connection], services: Services) -> None:
    for cut in (5, 1):
        connection = connect()
        connection.ask()
        connection.socket.sendall(connection.request(json.dumps(SOUND).encode() + b" " * 10_000)[:-cut])
        wait_until(lambda: services.shares.requests.total == 1, "the request has a slot")
        assert services.shares.memory.held
        connection.socket.close()
        wait_until(lambda: is_all_given_back(services), "all is given back")


def test_nothing_is_computed_for_a_client_that_is_gone(
    connect: Callable[[], Connection], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on, sizes = threading.Event(), threading.Event(), []
    predict = Predictor.predict

    def waiting(self: Predictor, rows: Any, *arguments: Any) -> Any:
        sizes.append(len(rows))
        asked.set()
        assert go_on.wait(HANGS)
        return predict(self, rows, *arguments)

    first, second, third = connect(), connect(), connect()
    first.ask()
    monkeypatch.setattr(Predictor, "predict", waiting)
    monkeypatch.setattr("app.serving.batching.MAX_LOOP_SECONDS", 0.0)  # in a thread, so that others can arrive
    try:
        first.socket.sendall(first.request())
        assert asked.wait(HANGS)
        second.socket.sendall(second.request({"inputs": [[1, 2, 3]] * 2}))
        third.socket.sendall(third.request({"inputs": [[1, 2, 3]] * 4}))
        wait_until(lambda: services.shares.requests.total == 3, "all three have arrived")
        third.socket.close()
        wait_until(lambda: services.shares.requests.total == 2, "one is gone")
    finally:
        go_on.set()
    assert first.answer()[0] == second.answer()[0] == 200
    assert sizes == [1, 2]
    wait_until(lambda: is_all_given_back(services), "all is given back")


def test_what_a_head_means_changes_with_the_registry(
    connect: Callable[[], Connection], client: Http, services: Services, project_id: str
) -> None:
    connection = connect()
    assert connection.ask()[0] == 200
    renewed = client.post("/v1/keys", json={"name": "short", "scopes": ["predict"]}).json()
    other = Connection(connection.socket.getpeername()[1], renewed["secret"])
    assert [other.ask()[0] for _ in range(3)] == [200] * 3
    assert client.delete(f"/v1/keys/{renewed['id']}").status_code < 300
    wait_until(lambda: other.ask()[0] == 401, "the key is revoked")
    other.socket.close()
    assert connection.ask()[0] == 200
    add_model(services, project_id, "sizes", seed=1)
    wait_until(lambda: connection.ask()[2]["model"]["version"] == 2, "the newest version answers")


def test_an_answer_that_comes_too_late_is_of_nobody(
    connect: Callable[[], Connection], app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint says so, and what was computed meanwhile answers no later request of the connection."""
    go_on, asked = threading.Event(), threading.Event()
    predict = Predictor.predict

    def waiting(self: Predictor, rows: Any, *arguments: Any) -> Any:
        asked.set()
        assert go_on.wait(HANGS)
        return predict(self, rows, *arguments)

    late, other = connect(), connect()
    expected = late.ask({"inputs": [[1, 2, 3]]})[2]
    assert other.ask({"inputs": [[90, 1, 5]]})[2]["predictions"] != expected["predictions"]
    short = services.settings.model_copy(update={"prediction_seconds": 1.0})
    app.state.services = Services(**{**services.__dict__, "settings": short})
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", waiting)
        patch.setattr("app.serving.batching.MAX_LOOP_SECONDS", 0.0)
        late.socket.sendall(late.request({"inputs": [[90, 1, 5]]}))
        assert asked.wait(HANGS)
        status, _, problem = late.answer()
        assert (status, problem["code"]) == (504, "deadline_exceeded")
        app.state.services = services
        late.socket.sendall(late.request({"inputs": [[1, 2, 3]]}))
        wait_until(lambda: services.shares.requests.total == 1, "the next request waits")
        go_on.set()
        assert late.answer()[2] == expected
    wait_until(lambda: is_all_given_back(services), "all is given back")
