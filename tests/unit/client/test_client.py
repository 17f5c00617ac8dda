import io
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from graftwork import (
    BadRequestError,
    ConflictError,
    DatasetFailedError,
    DeadlineError,
    ForbiddenError,
    GraftworkApiError,
    JobFailedError,
    NotFoundError,
    PreconditionFailedError,
    QuotaError,
    ServerError,
    TooManyError,
    UnauthorizedError,
    UnavailableError,
    UnprocessableError,
    UnreachableError,
)
from graftwork.retries import MAX_ATTEMPTS
from tests.support.handlers import Connect, answer, answers_once


def test_creating_survives_broken_connections_under_one_key(connect: Connect) -> None:
    seen: list[tuple[str, bytes]] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["idempotency-key"], request.read()))
        if len(seen) == 1:
            msg = "broken"
            raise httpx.ReadError(msg)
        if len(seen) == 2:
            return httpx.Response(503, headers={"retry-after": "2"}, json={"code": "unavailable"})
        return answer({"id": "job_1"}, 202)

    graftwork, pauses = connect(service)
    assert graftwork.jobs.create(kind="pretraining", dataset="ds_1")["id"] == "job_1"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert pauses[1] == pytest.approx(2, rel=0.21)
    graftwork.jobs.create(kind="pretraining", dataset="ds_1")
    assert seen[3][0] != seen[0][0]


def test_the_whole_upload_is_sent_again(connect: Connect, tmp_path: Path) -> None:
    bodies: list[bytes] = []
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n1,2\n" * 10_000)

    def service(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read().split(b"\r\n\r\n", 1)[1])
        assert request.headers["authorization"] == "Bearer a-key"
        return answer({"id": "ds_1"}, 202) if len(bodies) > 1 else answer({}, 503)

    graftwork, _ = connect(service)
    graftwork.datasets.create(file, name="rows", wait=False, columns={"a": "input"}, image=None, seed=3)
    first, second = bodies
    assert b'{"a": "input"}' in second
    assert b'name="seed"\r\n\r\n3\r\n' in second
    assert b"image" not in second
    assert len(first) == len(second)
    assert file.read_bytes() in second


def test_arrays_are_sent_as_npz(connect: Connect) -> None:
    sent: list[bytes] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return answer({"id": "ds_1"}, 202)

    graftwork, _ = connect(service)
    graftwork.datasets.create({"x": np.arange(6).reshape(3, 2)}, name="rows", wait=False)
    start, end = sent[0].index(b"PK\x03\x04"), sent[0].rindex(b"\r\n--")
    with np.load(io.BytesIO(sent[0][start:end])) as arrays:
        assert arrays["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert b'filename="arrays.npz"' in sent[0]


def test_a_model_is_deleted_by_its_id_and_once(connect: Connect) -> None:
    """The answer to the deletion is lost, and by then the name means another version."""
    versions, asked = {"mdl_2": 2, "mdl_1": 1}, []

    def service(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        asked.append((request.method, name))
        if request.method == "GET":
            return answer({"id": max(versions, key=versions.__getitem__)})
        if versions.pop(name, None) is None:
            return answer({"code": "model_not_found"}, 404)
        msg = "the answer was lost"
        raise httpx.ReadError(msg)

    graftwork, _ = connect(service)
    graftwork.models.delete("sizes")
    assert versions == {"mdl_1": 1}
    assert asked == [("GET", "sizes"), ("DELETE", "mdl_2"), ("DELETE", "mdl_2")]


def test_what_was_never_there_cannot_be_deleted(connect: Connect) -> None:
    graftwork, _ = connect(lambda _: answer({"code": "job_not_found"}, 404))
    with pytest.raises(GraftworkApiError, match="404 job_not_found"):
        graftwork.jobs.delete("job_1")


def test_a_refusal_carries_the_problem(connect: Connect) -> None:
    problem = {"code": "config_does_not_fit", "detail": "no", "errors": [{"loc": ["a"], "msg": "m"}], "request_id": "r"}
    graftwork, pauses = connect(lambda _: answer(problem, 422))
    with pytest.raises(GraftworkApiError, match="422 config_does_not_fit: no") as caught:
        graftwork.jobs.create(kind="pretraining", dataset="ds_1")
    assert (caught.value.status, caught.value.errors, caught.value.request_id) == (422, problem["errors"], "r")
    assert pauses == []


def test_a_proxys_error_page_is_an_api_error_too(connect: Connect) -> None:
    graftwork, _ = connect(lambda _: httpx.Response(502, text="<h1>Bad gateway</h1>"))
    with pytest.raises(GraftworkApiError, match="502 error: <h1>"):
        graftwork.models.get("m")


def test_a_service_that_has_answered_is_waited_for_and_given_up_in_the_end(connect: Connect) -> None:
    graftwork, pauses = connect(answers_once())
    graftwork.live()
    with pytest.raises(UnreachableError, match="refused"):
        graftwork.models.get("m")
    assert len(pauses) + 1 == MAX_ATTEMPTS
    assert 5 < sum(pauses) < 20


def test_where_nothing_has_ever_answered_that_is_told_soon(connect: Connect) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        msg = "refused"
        raise httpx.ConnectError(msg)

    graftwork, pauses = connect(service)
    with pytest.raises(UnreachableError, match="refused") as caught:
        graftwork.models.get("m")
    assert sum(pauses) < 3
    assert caught.value.code == "unreachable"
    assert "graftwork up" in str(caught.value.remedy)


def test_lists_go_through_all_pages(connect: Connect) -> None:
    pages = {None: (["a", "b"], True), "b": (["c"], False)}

    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.params["status"] == "ready"
        ids, more = pages[request.url.params.get("after")]
        return answer({"data": [{"id": one} for one in ids], "has_more": more, "last_id": ids[-1]})

    graftwork, _ = connect(service)
    assert [one["id"] for one in graftwork.datasets.list(status="ready")] == ["a", "b", "c"]


def test_waiting_looks_until_the_job_has_ended(connect: Connect) -> None:
    states = iter(["queued", "running", "running", "succeeded"])
    graftwork, pauses = connect(lambda _: answer({"id": "job_1", "status": next(states)}))
    assert graftwork.jobs.wait("job_1")["status"] == "succeeded"
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


def test_waiting_tells_a_failure_and_a_timeout(connect: Connect) -> None:
    failed = {"id": "job_1", "status": "failed", "error": {"message": "too little memory"}}
    graftwork, _ = connect(lambda _: answer(failed))
    with pytest.raises(JobFailedError, match="job_1 failed: too little memory"):
        graftwork.jobs.wait("job_1")
    assert graftwork.jobs.wait("job_1", check=False) == failed
    graftwork, _ = connect(lambda _: answer({"id": "job_1", "status": "running"}))
    with pytest.raises(TimeoutError):
        graftwork.jobs.wait("job_1", timeout=0.01)


def test_a_dataset_that_cannot_be_prepared_raises(connect: Connect) -> None:
    dataset = {"id": "ds_1", "status": "failed", "job": "job_1", "error": {"message": "line 3 has 2 fields"}}
    graftwork, _ = connect(lambda _: answer(dataset))
    with pytest.raises(DatasetFailedError, match="ds_1: line 3 has 2 fields"):
        graftwork.datasets.create(b"a,b\n", name="rows")


def test_references_are_quoted_and_arrays_become_lists(connect: Connect) -> None:
    seen: list[httpx.Request] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer({"predictions": [{}], "embeddings": [[1.0]]})

    graftwork, _ = connect(service)
    graftwork.models.predict("a/../b@x", np.zeros((1, 2)))
    graftwork.models.embed("m@best", [[1, 2]])
    assert seen[0].url.raw_path == b"/v1/models/a%2F..%2Fb@x/predictions"
    assert json.loads(seen[0].content) == {"inputs": [[0.0, 0.0]]}
    assert seen[1].url.raw_path == b"/v1/models/m@best/embeddings"


def test_many_inputs_are_sent_in_several_requests_and_answered_in_order(connect: Connect) -> None:
    sizes: list[int] = []

    def service(request: httpx.Request) -> httpx.Response:
        inputs = json.loads(request.read())["inputs"]
        sizes.append(len(inputs))
        return answer({"predictions": [{"echo": one} for one in inputs]})

    graftwork, _ = connect(service)
    rows = np.arange(2500).reshape(-1, 1)
    assert graftwork.models.predict("m", rows) == [{"echo": [row]} for row in range(2500)]
    assert sizes == [1000, 1000, 500]
    graftwork.models.predict("m", [])
    assert sizes[3:] == [0], "the service says what is wrong with none"


def test_batch_predictions_send_a_file_or_name_a_dataset(connect: Connect, tmp_path: Path) -> None:
    sent: list[tuple[str, bytes]] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append((request.url.path, request.read()))
        return httpx.Response(202, json={"id": "job_1"})

    (tmp_path / "rows.csv").write_text("a\n1\n", encoding="utf-8")
    graftwork, _ = connect(service)
    graftwork.jobs.batch_predict("m@prod", tmp_path / "rows.csv", outputs=["embeddings"])
    graftwork.jobs.batch_predict("m", dataset="ds_1", keep=["id"])
    (path, form), (other, body) = sent
    assert (path, other) == ("/v1/batch_predictions", "/v1/jobs")
    assert all(part in form for part in (b"m@prod", b'["embeddings"]', b'filename="rows.csv"', b"a\n1\n"))
    assert json.loads(body) == {"kind": "batch_prediction", "model": "m", "dataset": "ds_1", "keep": ["id"]}


def test_evaluations_and_curves_are_asked_for(connect: Connect) -> None:
    asked: list[tuple[str, dict[str, str], Any]] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, dict(request.url.params), json.loads(request.read() or b"null")))
        if request.method == "POST":
            return answer({"id": "job_1"}, 202)
        if request.url.path.endswith("curves"):
            return answer({"data": [{"kind": "roc", "head": "a b"}]})
        if request.url.params.get("format") == "svg":
            return httpx.Response(200, content=b"<svg/>")
        return answer({"id": "job_1", "status": "succeeded", "kind": "roc"})

    graftwork, _ = connect(service)
    assert graftwork.jobs.evaluate("mine@2", "ds_1", baseline="theirs")["status"] == "succeeded"
    body = {"kind": "evaluation", "model": "mine@2", "dataset": "ds_1", "baseline": "theirs"}
    assert asked[0] == ("/v1/jobs", {}, body)
    assert graftwork.jobs.curves("job_1") == [{"kind": "roc", "head": "a b"}]
    assert graftwork.jobs.curve("job_1", "roc", head="a b")["kind"] == "roc"
    assert graftwork.jobs.draw("job_1", "roc", head="a b", form="svg") == b"<svg/>"
    graftwork.jobs.draw("job_1", "learning")
    assert asked[-3:] == [
        ("/v1/jobs/job_1/curves/roc", {"head": "a b"}, None),
        ("/v1/jobs/job_1/curves/roc", {"format": "svg", "head": "a b"}, None),
        ("/v1/jobs/job_1/curves/learning", {"format": "png"}, None),
    ]


@pytest.mark.parametrize("status", [429, 503, 502])
def test_pauses_are_as_long_as_the_service_says(connect: Connect, status: int) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    answers = iter([("3", status), (later, status), ("", 200)])

    def service(request: httpx.Request) -> httpx.Response:
        retry_after, code = next(answers)
        return httpx.Response(code, json={"code": "too_many", "status": "ok"}, headers={"retry-after": retry_after})

    graftwork, pauses = connect(service)
    assert graftwork.live().status == "ok"
    assert 3 <= pauses[0] <= 3.6
    assert 7.5 <= pauses[1] <= 10.8


def test_a_limit_that_no_pause_lifts_is_told_at_once(connect: Connect) -> None:
    graftwork, pauses = connect(lambda _: answer({"code": "too_many_jobs", "detail": "100 jobs wait"}, 429))
    with pytest.raises(TooManyError, match="429 too_many_jobs: 100 jobs wait") as caught:
        graftwork.jobs.create(kind="pretraining", dataset="ds_1")
    assert (pauses, bool(caught.value.remedy)) == ([], True)


def test_pauses_add_up_to_a_minute_at_most(connect: Connect) -> None:
    busy = httpx.Response(429, json={"code": "too_many"}, headers={"retry-after": "20"})
    graftwork, pauses = connect(lambda _: httpx.Response(429, content=busy.content, headers=busy.headers))
    with pytest.raises(TooManyError):
        graftwork.live()
    assert len(pauses) >= 1
    assert sum(pauses) <= 60


@pytest.mark.parametrize("retry_after", ["soon", "-3", "1.5e99", "Thu, 99 Foo 2024"])
def test_a_senseless_retry_after_is_none(connect: Connect, retry_after: str) -> None:
    answers = iter([httpx.Response(503, headers={"retry-after": retry_after}), answer({"status": "ok"})])
    graftwork, pauses = connect(lambda _: next(answers))
    graftwork.live()
    assert len(pauses) == 1
    assert pauses[0] < 1


ERRORS = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: BadRequestError,
    415: BadRequestError,
    418: BadRequestError,
    422: UnprocessableError,
    429: TooManyError,
    500: ServerError,
    503: UnavailableError,
    504: DeadlineError,
    507: QuotaError,
    599: ServerError,
}


@pytest.mark.parametrize(("status", "error"), ERRORS.items())
def test_errors_are_a_tree(connect: Connect, status: int, error: type[GraftworkApiError]) -> None:
    problem = {"code": "c", "detail": "d", "errors": [{"loc": ["a"], "msg": "m", "row": 3}], "remedy": "send less"}
    graftwork, _ = connect(lambda _: answer(problem, status))
    with pytest.raises(GraftworkApiError, match=f"{status} c: d") as caught:
        graftwork.models.predict("m", [1])
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.errors[0]["row"], caught.value.remedy) == (status, 3, "send less")


def test_conditions_and_routing_are_headers(connect: Connect) -> None:
    seen: list[dict[str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        names = ("if-match", "if-none-match", "x-routing-key")
        seen.append({name: request.headers[name] for name in names if name in request.headers})
        return answer({"predictions": [{}], "generations": [{}], "embeddings": [[1]], "models": [{"predictions": [1]}]})

    graftwork, _ = connect(service)
    graftwork.models.alias("m", "best", "1", only_new=True)
    graftwork.models.roll_back("m", "best", if_revision=3)
    graftwork.models.predict("m", [1], routing_key="k")
    graftwork.models.embed("m", [1], routing_key="k")
    graftwork.models.generate("m", ["a"], routing_key="k")
    graftwork.models.predict_by_several(["m"], [1], routing_key="k")
    assert seen == [{"if-none-match": "*"}, {"if-match": '"3"'}, *[{"x-routing-key": "k"}] * 4]


def test_filters_may_be_times(connect: Connect) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.params["created_after"] == "2024-02-29T10:00:00+00:00"
        assert request.url.params.get_list("metadata") == ["a:1", "b:2"]
        return answer({"data": [], "has_more": False, "last_id": None})

    graftwork, _ = connect(service)
    since = datetime(2024, 2, 29, 10, tzinfo=UTC)
    assert [*graftwork.jobs.list(created_after=since, metadata=["a:1", "b:2"])] == []
