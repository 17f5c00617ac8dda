"""Classes whose order is not that of their names as text: each probability stands beside its own class, end to end."""

import json
from typing import Any

import numpy as np
import pytest

from app.settings import Settings
from tests.integration.jobs.test_job_life import done
from tests.support.http import Http
from tests.support.work import run_jobs

CLASSES = [str(number) for number in range(11)]  # as text "10" comes after "1"
REPEATS = 12
TRAINING = {"epochs": 30, "batch_size": 32, "seed": 1, "optimizer": {"kind": "adamw", "lr": 0.03}}
pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def point(number: int) -> dict[str, float]:
    """Where the rows of a class lie: one corner each."""
    return {f"c{column}": 6.0 * (column == number) for column in range(len(CLASSES))}


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    """Rows around eleven corners: their class, and as labels the class and the next one."""
    random, lines = np.random.default_rng(0), []
    for row in range(len(CLASSES) * REPEATS):
        number = row % len(CLASSES)
        noisy = {name: round(value + float(random.normal()), 3) for name, value in point(number).items()}
        traits = [f"t{number}", f"t{(number + 1) % len(CLASSES)}"]
        lines.append(json.dumps({**noisy, "digit": number, "traits": traits}))
    form = {
        "name": "corners",
        "columns": '{"digit": "target", "traits": "target"}',
        "types": '{"digit": "category"}',
    }
    answer = client.post("/v1/datasets", files={"file": ("corners.jsonl", "\n".join(lines).encode())}, data=form)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    prepared = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert prepared["status"] == "ready", prepared["error"]
    return str(prepared["id"])


@pytest.mark.parametrize("solver", ["gradient", "closed_form"])
def test_each_probability_stands_beside_its_class(client: Http, settings: Settings, dataset: str, solver: str) -> None:
    heads = [{"kind": "classifier", "target": "digit"}, {"kind": "multi_label", "target": "traits"}]
    body: dict[str, Any] = {"kind": "fine_tuning", "dataset": dataset, "heads": heads, "name": "digits"}
    if solver == "gradient":
        body |= {"backbone": {"kind": "mlp", "hidden": [32]}, "training": TRAINING}
    else:
        network = {"backbone": {"kind": "mlp", "hidden": [64]}, "method": {"kind": "autoencoder"}}
        done(client, settings, "/v1/jobs", {**network, "kind": "pretraining", "dataset": dataset, "name": "root"})
        body |= {"model": "root", "strategy": {"kind": "linear_probe", "layer": "last"}}
    job = done(client, settings, "/v1/jobs", body)
    measured = job["metrics"]["heads"]["digit"]
    assert measured["accuracy"] > 0.9
    assert measured["confusion_matrix"]["classes"] == CLASSES
    assert client.get("/v1/models/digits").json()["heads"][0]["classes"] == CLASSES
    inputs = [point(number) for number in range(len(CLASSES))]
    answers = client.post("/v1/models/digits/predictions", json={"inputs": inputs}).json()["predictions"]
    for number, answer in enumerate(answers):
        probabilities = answer["digit"]["probabilities"]
        assert list(probabilities) == CLASSES
        assert max(probabilities, key=probabilities.__getitem__) == answer["digit"]["class"] == str(number)
        labels = answer["traits"]["probabilities"]
        likeliest = sorted(labels, key=labels.__getitem__)[-2:]
        assert set(likeliest) == {f"t{number}", f"t{(number + 1) % len(CLASSES)}"}
