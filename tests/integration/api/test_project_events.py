"""The events of all jobs of a project: as a list, and as a stream of a real server that goes on where it broke."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Queue
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.db.tables import EventRow, JobRow
from app.dependencies import Services
from app.settings import Settings
from graftwork import Graftwork
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.live import served
from tests.support.problems import check_problem
from tests.support.servers import HANGS
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))
STREAMS: list["Stream"] = []
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"
        while STREAMS:  # the server waits for them
            STREAMS.pop().close()


def upload(client: Http, name: str = "numbers") -> str:
    return str(client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": name}).json()["job"])


class Stream:
    """A stream that a thread reads: `events` are those that have come, `id` the last id."""

    def __init__(self, url: str, key: str, query: str = "", last: str | None = None) -> None:
        headers = {**STREAM, "Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
        self.lines: Queue[str] = Queue()
        self._response = httpx.stream("GET", f"{url}/v1/events{query}", headers=headers, timeout=HANGS)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        STREAMS.append(self)
        assert self.next(":") == ": following"

    def _read(self) -> None:
        with suppress(httpx.HTTPError), self._response as response:
            self._socket = response.extensions["network_stream"].get_extra_info("socket")
            for line in response.iter_lines():
                self.lines.put(line)

    def close(self) -> None:
        with suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(HANGS)

    def next(self, begin: str) -> str:
        while not (line := self.lines.get(timeout=HANGS)).startswith(begin):
            pass
        return line

    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.next("data:").removeprefix("data:"))
        return event

    def until(self, kind: str) -> list[dict[str, Any]]:
        events = [self.event()]
        while events[-1]["type"] != kind:
            events.append(self.event())
        return events


def test_a_list_goes_through_the_events_of_all_jobs(client: Http, settings: Settings) -> None:
    jobs = [upload(client, name) for name in ("first", "second")]
    run_jobs(settings)
    everything = client.get("/v1/events?limit=1000").json()
    assert {event["job"] for event in everything["data"]} == set(jobs)
    assert not everything["has_more"]
    for job in jobs:
        own = [event["seq"] for event in everything["data"] if event["job"] == job]
        assert own == list(range(1, len(own) + 1))
    pages, after = [], ""
    while after is not None:
        page = client.get(f"/v1/events?limit=3{after and f'&after={after}'}").json()
        pages += page["data"]
        after = page["data"][-1]["id"] if page["has_more"] else None
    assert pages == everything["data"]
    assert client.get("/v1/events?kind=export").json()["data"] == []
    queued = client.get("/v1/events?kind=preparation&type=job.queued").json()["data"]
    assert [event["job"] for event in queued] == jobs
    check_problem(client.get("/v1/events?after=yesterday"), 422)


def test_a_stream_has_what_happens_in_its_project_alone(
    client: Http, app: FastAPI, url: str, key: str, settings: Settings, make_key: MakeKey
) -> None:
    upload(client, "before")
    stream, stranger = Stream(url, key), make_key(project="another")
    others = Stream(url, stranger)
    upload(Http(app, stranger), "theirs")
    job = upload(client, "mine")
    events = stream.until("job.queued")
    assert {event["job"] for event in events} == {job}
    assert job not in {event["job"] for event in others.until("job.queued")}
    narrow = Stream(url, key, "?type=job.succeeded")
    run_jobs(settings)
    assert narrow.event()["type"] == "job.succeeded"


def test_a_broken_stream_goes_on_without_a_gap(client: Http, url: str, key: str, settings: Settings) -> None:
    first = Stream(url, key)
    begin = first.next("id:").removeprefix("id:").strip()
    upload(client)
    last = first.until("job.queued")[-1]
    run_jobs(settings)
    expected = {event["id"] for event in client.get("/v1/events?limit=1000").json()["data"]}
    for place in (begin, last["id"]):  # before anything came, and behind something
        again = Stream(url, key, last=place)
        ids = {event["id"] for event in again.until("job.succeeded")}
        assert expected - ids <= ({last["id"]} if place == last["id"] else set())


def test_an_event_that_is_committed_late_is_not_left_out(client: Http, url: str, key: str, services: Services) -> None:
    job = upload(client)
    stream = Stream(url, key)
    upload(client, "another")
    newest = stream.until("job.queued")[-1]
    with services.database.writing() as session:
        number = session.get_one(JobRow, job).last_seq + 1
        session.get_one(JobRow, job).last_seq = number
        moment = float(newest["id"].partition("~")[0]) - 2  # its transaction began before the other one
        values = {"job_id": job, "seq": number, "created_at": moment, "level": "info", "type": "late"}
        session.execute(insert(EventRow).values(**values, message="Late.", data={}))
    assert stream.event()["type"] == "late"


def test_the_client_follows_all_jobs_and_has_each_event_once(
    client: Http, url: str, key: str, settings: Settings
) -> None:
    upload(client)
    run_jobs(settings)
    listed = [event["id"] for event in client.get("/v1/events?limit=1000").json()["data"]]
    with Graftwork(url, key) as graftwork:
        events = graftwork.jobs.follow_all(after=listed[0], type="job.succeeded")
        assert next(events).job_kind == "preparation"
        rest = [event.id for event in graftwork.jobs.all_events(after=listed[0])]
    assert rest == listed[1:]
