"""Labels of the test split reach no weight: with them permuted, every job makes the same model to the last byte."""

import io
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # no database learns anything


def upload(client: Http, settings: Settings, **arrays: Any) -> str:
    file = io.BytesIO()
    np.savez(file, **arrays)
    answer = client.post("/v1/datasets", files={"file": ("d.npz", file.getvalue())}, data={"name": "d"})
    run_jobs(settings)
    return str(answer.json()["id"])


def trained(client: Http, settings: Settings, **request: Any) -> dict[str, Any]:
    job = client.post("/v1/jobs", json=request).json()
    run_jobs(settings)
    done = client.get(job["links"]["self"]).json()
    assert done["status"] == "succeeded", done["error"]
    model: dict[str, Any] = client.get(f"/v1/models/{done['outputs'][0]['model']}").json()
    return model


def test_labels_of_the_test_split_change_no_weight(client: Http, settings: Settings) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    split = np.array(["train", "test", "train", "validation"])[np.arange(len(x)) % 4]
    permuted = y.copy()
    permuted[split == "test"] = np.random.default_rng(0).permutation(y[split == "test"])
    files, scores = [], []
    for labels in (y, permuted):
        dataset = upload(client, settings, x=x, y=labels, split=split)
        training = {"epochs": 5}
        root = trained(
            client,
            settings,
            kind="pretraining",
            dataset=dataset,
            backbone={"kind": "mlp", "hidden": [16]},
            training=training,
        )
        heads = [{"kind": "classifier", "target": "label"}]
        request = {"kind": "fine_tuning", "dataset": dataset, "model": root["id"], "heads": heads, "training": training}
        branches = [trained(client, settings, strategy={"kind": kind}, **request) for kind in ("linear_probe", "full")]
        files.append([[one["sha256"] for one in model["files"]] for model in (root, *branches)])
        scores.append([model["metrics"]["heads"]["label"]["accuracy"] for model in branches])
    assert files[0] == files[1]
    assert all(right > wrong + 0.1 for right, wrong in zip(*scores, strict=True)), scores
