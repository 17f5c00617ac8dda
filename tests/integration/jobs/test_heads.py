"""Several heads of several kinds on one backbone, over the API: rows lack some targets, one answer a head."""

import json
from typing import Any

import numpy as np
import pytest
from mlxtend.data import autompg_data

from app.settings import Settings
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

HEADS: list[dict[str, Any]] = [
    {"kind": "classifier", "target": "origin"},
    {"kind": "regressor", "target": "mpg", "level": 0.8},
    {"kind": "regressor", "target": ["mpg", "pace"], "name": "both", "loss": "gaussian", "hidden": [8]},
    {"kind": "multi_label", "target": "traits"},
]
FAST = {"kind": "adamw", "lr": 0.01}
COLUMNS = ("cylinders", "displacement", "weight", "acceleration", "year")


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    """Cars; every third lacks its consumption, every fourth its origin, every fifth its traits."""
    x, y = autompg_data()
    rows: list[dict[str, Any]] = []
    for index, (car, mpg) in enumerate(zip(x, y, strict=True)):
        cylinders, displacement, _, weight, acceleration, year, origin = car.tolist()[:7]
        facts = {"heavy": weight > 3000, "thirsty": mpg < 20, "new": year > 76}
        traits = [name for name, holds in facts.items() if holds]
        rows.append(
            {
                **dict(zip(COLUMNS, (cylinders, displacement, weight, acceleration, year), strict=True)),
                "origin": None if index % 4 == 0 else ("usa", "europe", "japan")[int(origin) - 1],
                "mpg": None if index % 3 == 0 else float(mpg),
                "pace": acceleration + float(mpg) / 10,
                "traits": None if index % 5 == 0 else traits,
            }
        )
    content = "\n".join(json.dumps(row) for row in rows).encode()
    roles = json.dumps(dict.fromkeys(("origin", "mpg", "pace", "traits"), "target"))
    fields = {"name": "cars", "columns": roles, "types": '{"mpg": "number", "pace": "number"}'}
    answer = client.post("/v1/datasets", files={"file": ("cars.jsonl", content)}, data=fields)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    found = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert found["status"] == "ready", found["error"]
    return str(found["id"])


def trained(client: Http, settings: Settings, dataset: str, **fields: Any) -> dict[str, Any]:
    backbone = {"kind": "mlp", "hidden": [32, 16]}
    body = {"kind": "fine_tuning", "dataset": dataset, "name": "cars", "heads": HEADS, "backbone": backbone}
    answer = client.post("/v1/jobs", json={**body, "training": {"epochs": 20, "optimizer": FAST}, **fields})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job: dict[str, Any] = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["status"] == "succeeded", job["error"]
    return job


def test_heads_of_every_kind_learn_together_and_answer_under_their_names(
    client: Http, settings: Settings, dataset: str
) -> None:
    job = trained(client, settings, dataset, balancing={"kind": "pcgrad"})
    assert job["config"]["heads"][3]["target"] == ["traits.heavy", "traits.new", "traits.thirsty"]
    found = job["metrics"]["heads"]
    assert set(found) == {"origin", "mpg", "both", "traits"}
    assert found["mpg"]["r2"] > 0.5
    assert found["both"]["targets"]["pace"]["r2"] > 0.5
    assert 0.5 < found["mpg"]["coverage"] <= 1
    assert found["traits"]["macro_f1"] > 0.6
    assert found["origin"]["accuracy"] > 0.55
    tasks = job["metrics"]["tasks"]
    assert tasks["measured"] == 5
    assert set(tasks["lookahead"]["mpg"]) == set(found)
    cars = [dict(zip(COLUMNS, car, strict=True)) for car in ((4, 97, 2130, 14.5, 80), (8, 400, 4700, 11.5, 72))]
    answer = client.post("/v1/models/cars/predictions", json={"inputs": cars})
    assert answer.status_code == 200, answer.text
    light, heavy = answer.json()["predictions"]
    assert set(light) == {"origin", "mpg", "both", "traits"}
    low, high = light["mpg"]["interval"]
    assert low < light["mpg"]["value"] < high
    assert light["mpg"]["level"] == 0.8
    assert set(light["both"]) == {"mpg", "pace"}
    assert set(light["traits"]["probabilities"]) == {"heavy", "new", "thirsty"}
    assert "heavy" in heavy["traits"]["labels"]
    assert "heavy" not in light["traits"]["labels"]
    model = client.get("/v1/models/cars").json()
    assert [head["target"] for head in model["heads"]] == ["origin", "mpg", None, None]
    assert [head["targets"] for head in model["heads"][1:3]] == [["mpg"], ["mpg", "pace"]]


def test_linear_heads_of_several_kinds_are_solved_for(client: Http, settings: Settings, dataset: str) -> None:
    linear = [head for head in HEADS if head.get("loss") != "gaussian"]
    job = trained(client, settings, dataset, heads=linear, strategy={"kind": "linear_probe", "layer": "all"})
    found = job["metrics"]["heads"]
    assert found["mpg"]["r2"] > 0.6
    assert found["traits"]["average_precision"] > 0.7
    assert np.isfinite(found["mpg"]["interval_width"])


def test_a_balance_that_does_not_fit_is_refused_before_it_is_queued(
    client: Http, settings: Settings, dataset: str
) -> None:
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": HEADS, "balancing": {"kind": "gradnorm"}}
    problem = check_problem(client.post("/v1/jobs", json=body), 422, "config_does_not_fit")
    assert problem["errors"][0]["loc"] == ["body", "balancing", "kind"]  # type: ignore[index]
    assert "'both'" in str(problem["detail"])
    assert run_jobs(settings) == 0
