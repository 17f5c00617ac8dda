"""Texts to continue come in every form of texts, and what is doubtful of them is said before anything is generated."""

import dataclasses
import io
import json
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet

from app.dependencies import Services
from app.errors import UnavailableError
from app.ml.models.bundle import Bundle
from app.ml.models.predictor import Predictor
from app.predictions import service
from app.predictions.schemas import Prompts
from app.predictions.stream import generation_lines
from app.shares.turns import Turns
from tests.support.http import Http
from tests.support.models import add_bundle
from tests.support.problems import check_problem
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data

pytestmark = pytest.mark.one_database("sqlite")  # no database answers a generation

URL = "/v1/models/verses/generations"


@pytest.fixture(autouse=True)
def model(services: Services, project_id: str) -> None:
    """A language model that has seen one step."""
    add_bundle(services, project_id, "verses", made())


def made() -> Bundle:
    request = {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"steps": 1, "batch_size": 8}}
    generator = {"heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    run = run_of(text_data(["abcabc", "bcabca"] * 6), {**request, **generator})
    run.state.objective.eval()
    return run.bundle()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def test_every_form_of_texts_is_continued_alike(client: Http) -> None:
    expected = client.post(URL, json={"inputs": ["ab", "c"], "max_tokens": 64}).json()["generations"]
    for content_type, content in (
        ("application/json", b'{"inputs": [{"text": "ab"}, {"text": "c"}]}'),
        ("text/csv", b"text\nab\nc\n"),
        ("application/x-ndjson", b'"ab"\n{"text": "c"}\n'),
        ("application/vnd.apache.parquet", parquet_of([{"text": "ab"}, {"text": "c"}])),
    ):
        answer = client.post(URL, content=content, headers={"content-type": content_type})
        assert answer.status_code == 200, (content_type, answer.text)
        assert answer.json()["generations"] == expected
        assert answer.json()["warnings"] == []
    options = {"max_tokens": "3", "stop": '["zz"]'}
    answer = client.post(URL, files={"file": ("a.csv", b"text\nab\n", "text/csv")}, data=options)
    assert [item["tokens"] for item in answer.json()["generations"][0]["continuations"]] <= [3]
    check_problem(client.post(URL, content=b"\x89PNG", headers={"content-type": "image/png"}), 415)


@pytest.mark.parametrize(
    ("text", "code"),
    [("abc" * 50, "text_truncated"), ("\u0431\u0432\u0433", "unknown_tokens"), ({"verse": "ab"}, "other_key")],
)
def test_what_is_doubtful_is_said_or_refused_before_it_is_continued(
    client: Http, monkeypatch: pytest.MonkeyPatch, text: Any, code: str
) -> None:
    (warning,) = client.post(URL, json={"inputs": [text], "max_tokens": 2}).json()["warnings"]
    assert warning["code"] == code
    monkeypatch.delattr(Predictor, "generating")  # a refusal asks nothing of the model
    for query, fields in (("?unknown=refuse", {}), ("", {"unknown": "refuse"})):
        problem = check_problem(client.post(URL + query, json={"inputs": [text], **fields}), 422, "invalid_input")
        assert problem["errors"][0]["loc"][:2] == ["inputs", 0]  # type: ignore[index]


@pytest.mark.parametrize("url", [URL, "/openai/v1/completions"])
def test_a_body_says_how_long_a_generation_may_take(client: Http, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    seconds, generating = list[float](), Predictor.generating

    def noted(predictor: Predictor, prompts: Any, config: Any, limit: float, **options: Any) -> Any:
        seconds.append(limit)
        return generating(predictor, prompts, config, limit, **options)

    monkeypatch.setattr(Predictor, "generating", noted)
    body = {"inputs": ["ab"], "max_tokens": 2} if url == URL else {"model": "verses", "prompt": "ab", "max_tokens": 2}
    for timeout in ({}, {"timeout": 9}, {"timeout": 600}):
        assert client.post(url, json=body | timeout).status_code == 200
    assert client.post(f"{url}?timeout=9", json=body).status_code == 200
    default, chosen, long, query = seconds
    assert 5 < chosen <= 9 < default == long == 20
    assert 5 < query <= 9
    assert client.post(url, json={**body, "timeout": 0}).status_code in {400, 422}


def test_a_routing_key_chooses_the_version_of_every_operation(
    client: Http, services: Services, project_id: str
) -> None:
    add_bundle(services, project_id, "verses", made())
    alias = client.put("/v1/models/verses/aliases/trial", json={"versions": {"1": 1, "2": 1}})
    assert alias.status_code == 200, alias.text
    ref, versions = "verses@trial", set()
    for number in range(8):
        headers = {"X-Routing-Key": str(number)}
        requests: dict[str, dict[str, Any]] = {
            f"/v1/models/{ref}/predictions": {"inputs": ["ab"]},
            f"/v1/models/{ref}/embeddings": {"inputs": ["ab"]},
            f"/v1/models/{ref}/generations": {"inputs": ["ab"], "max_tokens": 2},
        }
        answers = [client.post(url, json=body, headers=headers) for url, body in requests.items()]
        joint = client.post("/v1/predictions", json={"models": [ref], "inputs": ["ab"]}, headers=headers)
        completions = {"model": ref, "prompt": "ab", "max_tokens": 2}
        embeddings = {"model": ref, "input": "ab"}
        openai = [
            client.post(f"/openai/v1/{path}", json=body, headers=headers).json()["model"]
            for path, body in (("completions", completions), ("embeddings", embeddings))
        ]
        named = {answer.json()["model"]["version"] for answer in answers}
        named |= {model["model"]["version"] for model in joint.json()["models"]}
        named |= {int(name.removeprefix("verses@")) for name in openai}
        assert len(named) == 1
        versions |= named
    assert versions == {1, 2}


def test_bodies_are_checked_as_before(client: Http) -> None:
    for body, place in (({"inputs": ["a"], "beams": 0}, ["body", "beams"]), ({"inputs": []}, ["body", "inputs"])):
        problem = check_problem(client.post(URL, json=body), 422, "invalid_request")
        assert problem["errors"][0]["loc"] == place  # type: ignore[index]
    many = b"text\n" + b"a\n" * 257
    problem = check_problem(client.post(URL, content=many, headers={"content-type": "text/csv"}), 422)
    assert json.dumps(problem["errors"]).count("256") == 1


def events_of(answer: httpx.Response) -> list[tuple[str, Any]]:
    """Return the kinds and the data of server-sent events."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in answer.text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


STREAM = {"accept": "text/event-stream"}


def test_a_stream_ends_with_the_same_answer(client: Http) -> None:
    body = {"inputs": ["ab", "c"], "max_tokens": 32, "temperature": 1.3, "n": 3, "seed": 7, "stop": ["abca", "bb"]}
    answer = client.post(URL, json=body, headers=STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    *pieces, (kind, result) = events_of(answer)
    assert kind == "result"
    assert result == client.post(URL, json=body).json()
    assert {kind for kind, _ in pieces} == {"text"}
    for row, generation in enumerate(result["generations"]):
        for index, continuation in enumerate(generation["continuations"]):
            own = [piece["text"] for _, piece in pieces if (piece["prompt"], piece["continuation"]) == (row, index)]
            assert "".join(own) == continuation["text"]
    csv = client.post(URL, content=b"text\nab\n", headers={"content-type": "text/csv", **STREAM})
    assert events_of(csv)[-1][0] == "result"


def test_what_is_wrong_is_told_before_a_stream_begins(client: Http) -> None:
    check_problem(client.post(URL, json={"inputs": [3]}, headers=STREAM), 422, "invalid_input")
    check_problem(client.post("/v1/models/no/generations", json={"inputs": ["a"]}, headers=STREAM), 404)
    problem = check_problem(client.post(URL, json={"inputs": ["a"], "beams": 2}, headers=STREAM), 422)
    assert problem["errors"][0]["loc"] == ["body", "beams"]  # type: ignore[index]
    assert client.post(URL, json={"inputs": ["a"], "beams": 2}).status_code == 200


@pytest.fixture
def one_core(services: Services) -> Services:
    return dataclasses.replace(services, turns=Turns(1))


def test_others_compute_between_the_slices(one_core: Services, project_id: str) -> None:
    services = one_core
    prompts = Prompts(inputs=["ab"], max_tokens=4096)
    begun = service.begin_generation(services, project_id, "verses", prompts, "warn", streamed=True)
    assert next(begun.steps)
    assert b"embeddings" in service.embed(services, project_id, "verses", ["ab"], "warn", lambda _: None)[0]
    begun.steps.close()


def test_a_fault_on_the_way_ends_a_stream_with_an_error(
    one_core: Services, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = Prompts(inputs=["ab"], max_tokens=4096)
    begun = service.begin_generation(one_core, project_id, "verses", prompts, "warn", streamed=True)
    next(begun.steps)

    def busy(*_: object, **__: object) -> None:
        raise UnavailableError("All cores are busy.", code="busy")  # noqa: EM101, TRY003 - as they are at times

    monkeypatch.setattr(one_core.turns, "_take", busy)
    (line,) = list(generation_lines(begun, "req_1"))
    assert line.startswith(b"event: error\n")
    error = json.loads(line.split(b"data: ")[1])
    assert (error["code"], error["status"], error["request_id"]) == ("busy", 503, "req_1")
