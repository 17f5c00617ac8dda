"""Bodies that break ordinary services: never a 500, and never an echo of what was sent."""

import json

import pytest

from app.dependencies import Services
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database

JSON = {"content-type": "application/json"}
DEEP = b"[" * 5000 + b"]" * 5000


@pytest.fixture
def urls(services: Services, project_id: str) -> dict[str, tuple[str, str, bytes]]:
    """Routes that take JSON: method, URL, and the start of a body into which a value is put."""
    add_model(services, project_id, "sizes")
    return {
        "predictions": ("POST", "/v1/models/sizes/predictions", b'{"inputs": %s}'),
        "embeddings": ("POST", "/v1/models/sizes/embeddings", b'{"inputs": [[1, 2, %s]]}'),
        "alias": ("PUT", "/v1/models/sizes/aliases/best", b'{"model": %s}'),
        "job": ("POST", "/v1/jobs", b'{"kind": "pretraining", "dataset": %s}'),
        "training": ("POST", "/v1/jobs", b'{"kind": "pretraining", "dataset": "d", "training": {"epochs": %s}}'),
        "metadata": ("POST", "/v1/jobs", b'{"kind": "pretraining", "dataset": "d", "metadata": {"a": %s}}'),
    }


VALUES = {
    "nan": b"NaN",
    "infinity": b"-Infinity",
    "huge": b"1e999",
    "digits": b"9" * 5000,
    "half a surrogate": b'"\\ud800"',
    "nul": b'"a\\u0000b"',
    "deep": DEEP,
    "twice": b'{"a": 1, "a": 2}',
    "not utf-8": b'"\xff\xfe"',
    "cut": b'"abc',
    "trailing": b"1,",
    "nothing": b"",
}


def test_no_value_breaks_a_route(client: Http, urls: dict[str, tuple[str, str, bytes]]) -> None:
    for method, url, template in urls.values():
        for name, value in VALUES.items():
            answer = client.request(method, url, content=template.replace(b"%s", value), headers=JSON)
            assert answer.status_code in {400, 404, 422}, (url, name, answer.text)
            check_problem(answer, answer.status_code)


BODIES = [
    b"",
    b"\xef\xbb\xbf{}",
    '{"inputs": [[1, 2, 3]]}'.encode("utf-16"),
    b"{" * 100_000,
    b'{"inputs": ' + b"[" * 70 + b"]" * 70 + b"}",
    b'{"inputs": [[1, 2, 3]], "inputs": [[1, 2, 3]]}',
    b'{"inputs": [[1, 2, 3]]} {}',
    b"\0",
]


def test_no_body_breaks_predictions(client: Http, urls: dict[str, tuple[str, str, bytes]]) -> None:
    for body in BODIES:
        check_problem(client.post(urls["predictions"][1], content=body, headers=JSON), 422)


def test_a_refusal_does_not_repeat_what_was_sent(client: Http, urls: dict[str, tuple[str, str, bytes]]) -> None:
    phrase = "correct-horse-battery-staple"
    bodies = [
        {"kind": phrase, "dataset": "d"},
        {"kind": "pretraining", "dataset": {"password": phrase}},
        {"kind": "pretraining", "dataset": "d", "training": {"epochs": phrase}},
    ]
    for body in bodies:
        answer = client.post("/v1/jobs", json=body)
        check_problem(answer, 422)
        assert phrase not in answer.text
    for inputs in (phrase, [phrase], [[1, 2, phrase]]):
        answer = client.post(urls["predictions"][1], json={"inputs": inputs})
        check_problem(answer, 422)
        assert phrase not in answer.text


def test_the_sentence_says_what_is_wrong(client: Http, urls: dict[str, tuple[str, str, bytes]]) -> None:
    url = urls["predictions"][1]
    sentences = {
        b'{"inputs": [[NaN]]}': "NaN is not JSON",
        b'{"inputs": 1, "inputs": 2}': "'inputs' stands twice",
        b'{"inputs": ["\\udfff"]}': "surrogate",
        b'{"inputs": [[1, 2, ' + b"1" * 5000 + b"]]}": "too many digits",
        b'{"inputs": [[1, 2, 3]]': "not JSON",
        DEEP: "nested deeper",
    }
    for body, sentence in sentences.items():
        problem = check_problem(client.post(url, content=body, headers=JSON), 422, "invalid_request")
        assert sentence in str(problem["detail"]), json.dumps(problem)


def test_urls_with_nul_and_odd_bytes_are_refused(client: Http) -> None:
    for url in ("/v1/models/a%00b", "/v1/jobs?after=%00", "/v1/datasets/%00/rows"):
        check_problem(client.get(url), 400)
    for url in ("/v1/models/%ff%fe", "/v1/jobs/%ed%a0%80", "/v1/datasets?name=%ff&after=%ed%a0%80"):
        assert client.get(url).status_code in {200, 404, 422}
