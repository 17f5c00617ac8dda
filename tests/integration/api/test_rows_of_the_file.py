"""A file is uploaded, learned from, and its own rows are asked over HTTP as people have them."""

import csv
import io
import json
from typing import Any

import pytest

from app.settings import Settings
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

ROWS = range(60)
MEMBERS = "age,member,churn\n" + "".join(
    f"{20 + i * 0.37:.3f},{i % 3 == 0},{'stay' if i % 2 else 'leave'}\n" for i in ROWS
)
SHOPS = "age,shop,churn\n" + "".join(f"{20 + i * 0.37:.3f},{1 + i % 3}.0,{'ab'[i % 2]}\n" for i in ROWS)
ANSWERS = "age,ok,churn\n" + "".join(
    f"{20 + i * 0.37:.3f},{('yes', '0', 'TRUE', 'no', '1', 'False')[i % 6]},{'ab'[i % 2]}\n" for i in ROWS
)
PIXELS = "label," + ",".join(f"pixel{k}" for k in range(16))
DIGITS = "\n".join(
    [PIXELS, *(",".join(map(str, (i % 3, 0, 0, *((7 * k * i) % 256 for k in range(1, 13)), 0, 0))) for i in ROWS), ""]
)


def trained(client: Http, settings: Settings, file: str, target: str, **options: Any) -> str:
    """Upload a file, train a few steps on it, and return the model's path."""
    fields = {name: json.dumps(value) for name, value in options.items()}
    upload = client.post("/v1/datasets", files={"file": ("rows.csv", file)}, data={"name": "rows", **fields})
    assert upload.status_code == 202, upload.text
    run_jobs(settings)
    body = {
        "kind": "fine_tuning",
        "dataset": upload.json()["id"],
        "heads": [{"kind": "classifier", "target": target}],
        "backbone": {"kind": "mlp", "hidden": [8]},
        "strategy": {"kind": "full"},
        "training": {"steps": 5},
    }
    job = client.post("/v1/jobs", json=body)
    assert job.status_code == 202, job.text
    run_jobs(settings)
    ended = client.get(f"/v1/jobs/{job.json()['id']}").json()
    assert ended["status"] == "succeeded", ended["error"]
    return f"/v1/models/{ended['outputs'][0]['model']}/predictions"


def ask(client: Http, path: str, inputs: Any) -> dict[str, Any]:
    answer = client.post(path, json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("file", "target", "options", "ignored"),
    [
        (MEMBERS, "churn", {"columns": {"churn": "target"}}, ["churn"]),
        (SHOPS, "churn", {"columns": {"churn": "target"}, "types": {"shop": "category"}}, ["churn"]),
        (ANSWERS, "churn", {"columns": {"churn": "target"}}, ["churn"]),
        (DIGITS, "label", {}, ["label", "pixel0", "pixel1", "pixel14", "pixel15"]),
    ],
)
def test_rows_of_the_file_are_answered_without_false_warnings(
    client: Http, settings: Settings, file: str, target: str, options: dict[str, Any], ignored: list[str]
) -> None:
    path = trained(client, settings, file, target, **options)
    records = list(csv.DictReader(io.StringIO(file)))
    answer = ask(client, path, records)
    assert len(answer["predictions"]) == len(ROWS)
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["count"]) == ("ignored_keys", len(ROWS))
    assert warning["message"].endswith(f": {', '.join(map(repr, ignored))}.")
    whole = client.post(path, content=file.encode(), headers={"Content-Type": "text/csv"})
    assert whole.json()["predictions"] == answer["predictions"]
    inputs = [{key: value for key, value in record.items() if key not in ignored} for record in records]
    assert ask(client, path, inputs) == {**answer, "warnings": []}


def test_rows_that_lack_what_no_train_row_lacked_are_answered_with_a_warning(client: Http, settings: Settings) -> None:
    """However a row says that a value is missing, in every form of body; `unknown=refuse` refuses it."""
    path = trained(client, settings, MEMBERS, "churn", columns={"churn": "target"})
    rows: list[Any] = [{"age": 30, "member": "True"}, {"age": None, "member": "True"}, {"age": 30, "member": None}]
    answer = ask(client, path, rows)
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["rows"]) == ("missing_value", [1, 2])
    assert all(f"'{column}' (no training row lacked it" in warning["message"] for column in ("age", "member"))
    assert answer["predictions"][1] != answer["predictions"][0] != answer["predictions"][2]
    assert ask(client, path, [[30, "True"], [None, "True"], [30, None]]) == answer
    assert ask(client, path, [rows[0], {"member": "True"}, {"age": 30}]) == answer
    bodies = {
        "text/csv": "age,member\n30,True\n,True\n30,\n",
        "application/x-ndjson": "\n".join(map(json.dumps, rows)),
    }
    for kind, body in bodies.items():
        assert client.post(path, content=body.encode(), headers={"Content-Type": kind}).json() == answer, kind
    refused = check_problem(client.post(f"{path}?unknown=refuse", json={"inputs": rows}), 422)["errors"]
    assert [error["loc"][-2:] for error in refused] == [[1, "age"], [2, "member"]]
    misspelt = client.post(path, json={"inputs": [{"aeg": 30, "member": "True"}]})
    assert "unknown: 'aeg'; missing: 'age'" in misspelt.text


@pytest.mark.parametrize(
    ("file", "column", "options", "spellings"),
    [
        (MEMBERS, "member", {}, [[True, "True", "TRUE", "true", 1, 1.0, "1"], [False, "False", "false", 0, "0"]]),
        (SHOPS, "shop", {"types": {"shop": "category"}}, [[1, 1.0, "1.0", "1"], [2, 2.0, "2.0", "2"], [3.0, "3"]]),
        (ANSWERS, "ok", {}, [["yes", "Yes", True, "TRUE", 1, "1", 1.0], ["no", "NO", False, "false", 0, "0"]]),
    ],
)
def test_a_category_is_met_in_every_spelling(
    client: Http, settings: Settings, file: str, column: str, options: dict[str, Any], spellings: list[list[Any]]
) -> None:
    path = trained(client, settings, file, "churn", columns={"churn": "target"}, **options)
    answers = []
    for of_category in spellings:
        answer = ask(client, path, [{"age": 30, column: value} for value in of_category])
        assert answer["warnings"] == []
        shares = [prediction["churn"]["probabilities"] for prediction in answer["predictions"]]
        assert all(share == pytest.approx(shares[0], abs=1e-6) for share in shares)
        answers.append(shares[0])
    names = list(answers[0])
    assert len({round(share[names[0]], 5) for share in answers}) == len(spellings)
    unknown = ask(client, path, [{"age": 30, column: "never seen"}])
    assert [warning["code"] for warning in unknown["warnings"]] == ["unknown_category"]
