"""Texts, series and dates over HTTP: uploaded, prepared, reported, shown."""

import json
from typing import Any

import pytest

from app.dependencies import Services
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

from .test_datasets import upload

pytestmark = pytest.mark.one_database

LABELS = [{"label": "ab"[i % 2]} for i in range(30)]
TEXTS = [{"text": f"sentence number {i} of them"} | LABELS[i] for i in range(30)]
SERIES = [{"wave": [i, None, 2.5][: 1 + i % 3]} | LABELS[i] for i in range(20)]
DATES = [{"n": i % 7, "day": f"2024-02-{i + 1:02d}T06:00"} | LABELS[i] for i in range(20)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.mark.parametrize(
    ("content", "fields", "modality", "columns", "shown"),
    [
        (lines(TEXTS), {}, "text", None, {"text": "sentence number 0 of them", "truncated": False}),
        (b"a root, and\nits branches " * 90, {"modality": "text"}, "text", None, None),
        (lines(SERIES), {}, "series", [("wave", "number")], [[0.0]]),
        (lines(DATES), {}, "table", [("n", "number"), ("day", "date")], {"n": 0.0, "day": "2024-02-01T06:00:00"}),
        (
            b"id,t,v\n" + b"".join(b"%d,%d,%d\n" % (i // 3, -i, i) for i in range(60)),
            {"series": {"id": "id", "time": "t"}},
            "series",
            [("v", "number")],
            [[2.0], [1.0], [0.0]],
        ),
    ],
)
def test_every_modality_is_prepared_and_shown(
    client: Http,
    services: Services,
    content: bytes,
    fields: dict[str, Any],
    modality: str,
    columns: list[tuple[str, str]] | None,
    shown: Any,
) -> None:
    dataset_id = upload(client, content, **fields).json()["id"]
    assert run_jobs(services.settings) == 1
    dataset = client.get(f"/v1/datasets/{dataset_id}").json()
    assert (dataset["status"], dataset["modality"]) == ("ready", modality), dataset["error"]
    found = dataset["columns"] and [(column["name"], column["type"]) for column in dataset["columns"]]
    assert found == columns
    report = client.get(f"/v1/datasets/{dataset_id}/report").json()
    assert (report["text"] is not None, report["series"] is not None) == (modality == "text", modality == "series")
    row = client.get(f"/v1/datasets/{dataset_id}/rows", params={"limit": 1}).json()["data"][0]
    assert row["row"] == 0
    assert shown is None or row["input"] == shown


def test_a_bad_row_is_named_and_the_dataset_fails(client: Http, services: Services) -> None:
    dataset_id = upload(client, lines([*TEXTS, {"text": 3}])).json()["id"]
    run_jobs(services.settings)
    dataset = client.get(f"/v1/datasets/{dataset_id}").json()
    assert dataset["status"] == "failed"
    assert (dataset["error"]["code"], dataset["error"]["errors"][0]["row"]) == ("mixed_types", 30)


def test_one_json_document_is_refused_at_once(client: Http) -> None:
    answer = upload(client, json.dumps(TEXTS, indent=1).encode())
    assert "JSON Lines" in str(check_problem(answer, 415, "unsupported_format")["detail"])


def test_bad_wishes_are_refused_at_once(client: Http) -> None:
    for fields in ({"text": {"window": 1}}, {"series": {}}, {"unlabelled": "guess"}, {"types": {"a": "words"}}):
        check_problem(upload(client, **fields), 422, "invalid_request")
