"""A request that cannot be validated is refused in its sender's words: where a field belongs, how a kind is written."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

HEADS = [{"kind": "classifier", "target": "y"}]


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """One database will do: nothing here depends on it."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder)


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"strategy": "linear_probe"}, "strategy", 'write {"kind": "linear_probe"}'),
        ({"training": {"optimizer": "adam"}}, "training.optimizer", 'write {"kind": "adam"}'),
        ({"heads": ["classifier"]}, "heads.0", 'write {"kind": "classifier"}'),
        ({"heads": "classifier"}, "heads", 'this is a list or "inherit"; put what was sent into [brackets]'),
        ({"heads": HEADS[0]}, "heads", 'this is a list or "inherit"; put what was sent into [brackets]'),
        ({"heads": [{"target": "y"}]}, "heads.0", "say its kind: one of classifier, multi_label, regressor, generator"),
        ({"heads": [{"kind": "clasifier"}]}, "heads.0", "did you mean classifier?"),
        ({"strategy": "linear_prob"}, "strategy", 'did you mean {"kind": "linear_probe"}?'),
        ({"epochs": 3}, "epochs", "there is no such field; did you mean training.epochs?"),
        ({"training": {"n_epochs": 3}}, "training.n_epochs", "did you mean training.epochs?"),
        ({"learning_rate": 0.1}, "learning_rate", "did you mean training.optimizer.lr?"),
        ({"training": {"lr": 0.1}}, "training.lr", "did you mean training.optimizer.lr?"),
        (
            {"training": {"optimizer": {"kind": "sgd", "learning_rate": 1}}},
            "training.optimizer.learning_rate",
            "optimizer.lr?",
        ),
        (
            {"training": {"device": "cpu"}},
            "training.device",
            "there is no such field here; did you mean resources.device?",
        ),
        ({"training": {"epochs": "3"}}, "training.epochs", "write the number without quotes"),
        ({"training": {"colour": 3}}, "training.colour", "there is no such field; there are "),
    ],
)
def test_a_job(client: Http, fields: dict[str, Any], place: str, message: str) -> None:
    body = {"kind": "fine_tuning", "dataset": "ds_1", "heads": HEADS, **fields}
    problem = check_problem(client.post("/v1/jobs", json=body), 422, "invalid_request")
    assert len(problem["errors"]) == 1
    assert ".".join(map(str, problem["errors"][0]["loc"])) == f"body.{place}"
    assert message in problem["errors"][0]["msg"]
    assert problem["detail"].startswith(f"body.{place}: ")


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"choices": [0.1, 0.01]}, "say its kind: one of uniform, log_uniform, integer, choice"),
        ({"kind": "choise"}, "did you mean choice?"),
        ([0.1, 0.01], "this is an object with a kind: uniform, log_uniform, integer, choice"),
        ({"kind": "choice", "choices": [1]}, "there is no such field; there are values"),
    ],
)
def test_a_sweep(client: Http, span: Any, message: str) -> None:
    base = {"kind": "fine_tuning", "dataset": "ds_1", "heads": HEADS}
    body = {"kind": "sweep", "base": base, "space": {"training.optimizer.lr": span}}
    errors = check_problem(client.post("/v1/jobs", json=body), 422, "invalid_request")["errors"]
    assert any(message in error["msg"] for error in errors), errors


def test_what_is_no_kind_is_not_echoed(client: Http) -> None:
    body = {"kind": "fine_tuning", "dataset": "ds_1", "heads": HEADS, "strategy": "My secret 1"}
    assert "secret" not in client.post("/v1/jobs", json=body).text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", "size", "did you mean columns?"),
        ("duplicate", "keep", "did you mean duplicates?"),
        ("splits", "random", "this is an object"),
        ("seed", "first", "valid integer"),
    ],
)
def test_an_upload(client: Http, field: str, value: str, message: str) -> None:
    answer = client.post("/v1/datasets", files={"file": ("a.csv", "a,b\n1,2\n")}, data={"name": "a", field: value})
    assert message in check_problem(answer, 422, "invalid_request")["detail"]


def test_a_target_that_is_an_input_column(client: Http, settings: Settings) -> None:
    rows = "weight,origin,label\n" + "".join(f"{k},{'ab'[k % 2]},{'cd'[k % 2]}\n" for k in range(40))
    dataset = client.post("/v1/datasets", files={"file": ("a.csv", rows)}, data={"name": "a"}).json()["id"]
    run_jobs(settings)
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": "classifier", "target": "origin"}]}
    problem = check_problem(client.post("/v1/jobs", json=body), 422, "config_does_not_fit")
    assert "'origin' is one of its input columns" in problem["detail"]
    assert '{"options": {"columns": {"origin": "target"}}}' in problem["detail"]
    for target, meant in (("Origin", "origin"), ("Label", "label"), ("lable", "label")):
        near = {**body, "heads": [{"kind": "classifier", "target": target}]}
        problem = check_problem(client.post("/v1/jobs", json=near), 422, "config_does_not_fit")
        assert str(problem["detail"]).endswith(f"did you mean {meant!r}?")
    version = client.post(
        f"/v1/datasets/{dataset}/versions", json={"options": {"columns": {"origin": "target"}}}
    ).json()
    run_jobs(settings)
    answer = client.post("/v1/jobs", json={**body, "dataset": version["id"]})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("asked", ["predictions", "generations", "embeddings"])
def test_a_body_of_several_forms_is_refused_in_the_same_words(
    client: Http, app: FastAPI, services: Services, project_id: str, asked: str
) -> None:
    model = add_model(services, project_id, "sizes")
    refused = client.post(f"/v1/models/{model.id}/{asked}", json={"inputs": ["a"], "unknwon": "refuse"})
    problem = check_problem(refused, 422, "invalid_request")
    assert (problem["errors"][0]["loc"], "did you mean unknown?" in problem["detail"]) == (["body", "unknwon"], True)
    assert app.openapi_schema is None  # a second of work; a refusal needs the schema of its body alone
