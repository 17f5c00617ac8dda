"""Events and texts as they come."""

import json
from typing import Any

import httpx
import pytest

from graftwork import DeadlineError, GraftworkApiError, UnreachableError
from graftwork.retries import MAX_ATTEMPTS
from tests.support.handlers import Connect, answer, answers_once, sse


def test_a_broken_event_stream_goes_on_where_it_broke(connect: Connect) -> None:
    resumed: list[str] = []
    one, two, three = ({"seq": seq, "type": "x"} for seq in (1, 2, 3))

    def service(request: httpx.Request) -> httpx.Response:
        if "text/event-stream" not in request.headers["accept"]:
            ended = request.url.path == "/v1/jobs/job_1"
            return answer({"status": "succeeded"} if ended else {"data": [], "has_more": False})
        resumed.append(request.headers["last-event-id"])
        if len(resumed) == 1:
            return sse(one, two, tail='id: 3\ndata: {"seq": 3, "ty')  # cut in the middle
        if len(resumed) == 2:
            msg = "broken"
            raise httpx.ReadError(msg)
        return sse(three)

    states = iter(["running", "succeeded"])

    def with_states(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jobs/job_1":
            return answer({"status": next(states)})
        return service(request)

    graftwork, _ = connect(with_states)
    assert [event["seq"] for event in graftwork.jobs.follow("job_1")] == [1, 2, 3]
    assert resumed == ["0", "2", "2"]


def test_a_stream_that_is_refused_for_a_while_is_asked_for_again(connect: Connect) -> None:
    answers = iter([httpx.Response(503), httpx.Response(503), sse({"seq": 1, "type": "x"})])

    def service(request: httpx.Request) -> httpx.Response:
        if "text/event-stream" in request.headers["accept"]:
            return next(answers)
        return answer({"status": "succeeded", "data": [], "has_more": False})

    graftwork, pauses = connect(service)
    assert [event["seq"] for event in graftwork.jobs.follow("job_1")] == [1]
    assert len(pauses) == 2


def test_a_projects_stream_goes_on_where_it_broke_and_gives_each_event_once(connect: Connect) -> None:
    events = [{"seq": seq, "id": f"{seq}.0~job_1~{seq}", "type": "x"} for seq in (1, 2, 3)]
    stories = iter(["id: 0.0~~0\n\n" + _written(*events[:2]), _written(*events[1:])])  # the second repeats an event
    resumed: list[str | None] = []

    def service(request: httpx.Request) -> httpx.Response:
        resumed.append(request.headers.get("last-event-id"))
        if len(resumed) == 2:
            msg = "broken before its first event"
            raise httpx.ReadError(msg)
        return httpx.Response(200, text=next(stories), headers={"content-type": "text/event-stream"})

    graftwork, _ = connect(service)
    followed = graftwork.jobs.follow_all()
    assert [next(followed).seq for _ in events] == [1, 2, 3]
    assert resumed == [None, events[1]["id"], events[1]["id"]]


def _written(*events: dict[str, Any]) -> str:
    return "".join(f"id: {event['id']}\ndata: {json.dumps(event)}\n\n" for event in events)


@pytest.mark.parametrize(("status", "tries"), [(503, MAX_ATTEMPTS), (404, 1)])
def test_a_stream_that_is_refused_for_good_is_told_so(connect: Connect, status: int, tries: int) -> None:
    asked: list[httpx.Request] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"code": "c"})

    graftwork, _ = connect(service)
    with pytest.raises(GraftworkApiError, match=f"{status} c"):
        list(graftwork.jobs.follow("job_1"))
    assert len(asked) == tries


def test_following_gives_up_when_nothing_comes_any_more(connect: Connect) -> None:
    graftwork, pauses = connect(answers_once())
    graftwork.live()
    with pytest.raises(UnreachableError):
        list(graftwork.jobs.follow("job_1"))
    assert len(pauses) == MAX_ATTEMPTS - 1


def test_events_are_read_as_the_standard_says(connect: Connect) -> None:
    story = (
        ': comment\nretry: 2000\n\nid: 1\ndata: {"seq": 1,\ndata: "text": "a\u2028b"}\n\n: ping\n\n'
        'data:{"seq": 2}\r\n\r\ndata: {"se'
    )

    def service(request: httpx.Request) -> httpx.Response:
        if "text/event-stream" in request.headers["accept"]:
            return httpx.Response(200, text=story, headers={"content-type": "text/event-stream; charset=utf-8"})
        return answer({"status": "succeeded", "data": [], "has_more": False})

    graftwork, _ = connect(service)
    assert list(graftwork.jobs.follow("job_1")) == [{"seq": 1, "text": "a\u2028b"}, {"seq": 2}]


def test_an_answer_that_is_no_event_stream_is_told_so(connect: Connect) -> None:
    graftwork, _ = connect(lambda _: httpx.Response(200, text="<html>", headers={"content-type": "text/html"}))
    with pytest.raises(UnreachableError, match="text/html"):
        list(graftwork.jobs.follow("job_1"))


TEXT = {"content-type": "text/event-stream"}
PIECE = 'event: text\ndata: {"prompt": 0, "continuation": 0, "text": "a"}\n\n'
RESULT = 'event: result\ndata: {"warnings": []}\n\n'


def test_a_stream_of_text_ends_in_the_error_that_came(connect: Connect) -> None:
    problem = {"status": 504, "code": "deadline_exceeded", "detail": "too slow"}

    def service(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.read()) == {"inputs": ["once"], "max_tokens": 3, "seed": 0}
        return httpx.Response(200, text=f"{PIECE}event: error\ndata: {json.dumps(problem)}\n\n", headers=TEXT)

    graftwork, _ = connect(service)
    pieces = graftwork.models.stream("m", "once", max_tokens=3)
    assert next(pieces) == {"prompt": 0, "continuation": 0, "text": "a"}
    with pytest.raises(DeadlineError, match="too slow"):
        next(pieces)


def test_a_stream_of_text_is_asked_for_again_until_a_piece_has_come(connect: Connect) -> None:
    asked = [
        httpx.Response(503, json={"detail": "starting"}, headers={"retry-after": "2"}),
        httpx.Response(200, text="", headers=TEXT),
        httpx.Response(200, text=PIECE + RESULT, headers=TEXT),
        httpx.Response(200, text=PIECE, headers=TEXT),
    ]
    responses = iter(asked)
    graftwork, pauses = connect(lambda _: next(responses))
    assert [piece["text"] for piece in graftwork.models.stream("m", "once")] == ["a"]
    assert len(pauses) == 2
    pieces = graftwork.models.stream("m", "once")
    assert next(pieces)["text"] == "a"
    with pytest.raises(UnreachableError, match="before the result"):
        next(pieces)
    assert next(responses, None) is None, "what has begun is not begun again"


def test_streams_of_many_texts_are_several_requests(connect: Connect) -> None:
    bodies = []

    def service(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.read()))
        return httpx.Response(200, text=PIECE + RESULT, headers=TEXT)

    graftwork, _ = connect(service)
    pieces = list(graftwork.models.stream("m", list(map(str, range(300))), seed=5))
    assert [piece["prompt"] for piece in pieces] == [0, 256]
    assert [(len(body["inputs"]), body["seed"]) for body in bodies] == [(256, 5), (44, 261)]
