"""Texts to continue come in every form of texts, and what is doubtful of them is said before anything is generated."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from app.dependencies import Services
from app.ml.models.predictor import Predictor
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_bundle
from tests.support.problems import check_problem
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data

URL = "/v1/models/verses/generations"


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """SQLite alone: no database answers a generation."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder)


@pytest.fixture(autouse=True)
def model(services: Services, project_id: str) -> None:
    """A language model that has seen one step."""
    request = {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"steps": 1, "batch_size": 8}}
    generator = {"heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    run = run_of(text_data(["abcabc", "bcabca"] * 6), {**request, **generator})
    run.state.objective.eval()
    add_bundle(services, project_id, "verses", run.bundle())


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
    monkeypatch.delattr(Predictor, "generate")  # a refusal asks nothing of the model
    for query, fields in (("?unknown=refuse", {}), ("", {"unknown": "refuse"})):
        problem = check_problem(client.post(URL + query, json={"inputs": [text], **fields}), 422, "invalid_input")
        assert problem["errors"][0]["loc"][:2] == ["inputs", 0]  # type: ignore[index]


def test_bodies_are_checked_as_before(client: Http) -> None:
    for body, place in (({"inputs": ["a"], "beams": 0}, ["body", "beams"]), ({"inputs": []}, ["body", "inputs"])):
        problem = check_problem(client.post(URL, json=body), 422, "invalid_request")
        assert problem["errors"][0]["loc"] == place  # type: ignore[index]
    many = b"text\n" + b"a\n" * 257
    problem = check_problem(client.post(URL, content=many, headers={"content-type": "text/csv"}), 422)
    assert json.dumps(problem["errors"]).count("256") == 1
