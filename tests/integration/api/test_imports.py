"""Importing weights over HTTP, and what an imported model can then do."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.dependencies import Services
from app.models import importing
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.weights import send_weights, wheel
from tests.support.work import run_jobs

from .test_datasets import upload

pytestmark = pytest.mark.one_database

TEXTS = [
    f"a {size} {colour} {thing}" for size in ("big", "tiny") for colour in ("red", "blue") for thing in ("ring", "star")
]


def test_an_imported_model_is_a_model_like_any_other(client: Http, services: Services) -> None:
    answer = send_weights(client, headers={"Idempotency-Key": "once"})
    model = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == model["links"]["self"]
    assert (model["name"], model["version"], model["kind"], model["modality"]) == ("small", 1, "backbone", "text")
    assert model["backbone"]["kind"] == "bert"
    assert (model["job"], model["dataset"], model["parent"], model["method"]) == (None, None, None, None)
    assert [file["name"] for file in model["files"]] == [
        "backbone.safetensors",
        "golden.safetensors",
        "manifest.json",
        "tokenizer.json",
    ]
    assert send_weights(client, headers={"Idempotency-Key": "once"}).json() == model
    check_problem(send_weights(client, headers={"Idempotency-Key": "once"}, name="other"), 422, "idempotency_mismatch")
    assert send_weights(client).json()["version"] == 2
    assert client.get("/v1/models/small@1/lineage").json()["ancestors"] == []
    first, again = (
        client.post(f"/v1/models/{ref}/embeddings", json={"inputs": ["a big ring!", "[SEP] \u200b"]}).json()[
            "embeddings"
        ]
        for ref in ("small@1", "small@2")
    )
    assert first == again
    assert np.shape(first) == (2, 8)
    assert client.delete("/v1/models/small@2").status_code == 204
    assert client.get("/v1/models/small").json()["version"] == 1


def test_one_import_at_a_time(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_MAX_WAIT_SECONDS", 0.01)
    with importing._import_lock:
        answer = send_weights(client)
    check_problem(answer, 503, "busy")
    assert answer.headers["retry-after"]
    assert send_weights(client).status_code == 201


SQLITE = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@SQLITE
def test_fine_tuning_learns_on_an_imported_backbone(client: Http, services: Services) -> None:
    model = send_weights(client).json()
    rows = "".join(json.dumps({"text": text, "thing": text.split()[-1]}) + "\n" for text in TEXTS * 4)
    options = {"modality": "text", "duplicates": "keep", "splits": {"train": 1.0, "validation": 0.0, "test": 0.0}}
    dataset = upload(client, rows.encode(), columns={"text": "input", "thing": "target"}, **options).json()["id"]
    assert run_jobs(services.settings) == 1
    heads = [{"kind": "classifier", "target": "thing"}]
    training = {"epochs": 40, "batch_size": 16, "optimizer": {"kind": "adamw", "lr": 0.02}}
    for strategy in ("auto", {"kind": "lora"}, {"kind": "layerwise_decay"}):
        request = {"kind": "fine_tuning", "dataset": dataset, "model": "small", "heads": heads}
        body = {**request, "strategy": strategy, "training": training}
        job = client.post("/v1/jobs", json=body).json()
        assert run_jobs(services.settings) == 1
        done = client.get(f"/v1/jobs/{job['id']}").json()
        assert done["status"] == "succeeded", done["error"]
        made = client.get(f"/v1/models/{done['outputs'][0]['model']}").json()
        assert made["parent"] == model["id"]
        answer = client.post(f"/v1/models/{made['id']}/predictions", json={"inputs": TEXTS}).json()
        classes = [one["thing"]["class"] for one in answer["predictions"]]
        assert classes == [text.split()[-1] for text in TEXTS]
    assert len(client.get("/v1/models/small/lineage").json()["children"]) == 3
    body = {"kind": "fine_tuning", "dataset": dataset, "model": "small", "heads": [{"kind": "generator"}]}
    refused = check_problem(client.post("/v1/jobs", json=body), 422)
    assert "must not look ahead" in str(refused["detail"])


@SQLITE
def test_real_photographs_models_come_from_their_wheel(client: Http, services: Services) -> None:
    more = {"name": "lite", "architecture": "efficientnet_lite0", "image_size": "64", "vocab": None, "config": None}
    answer = send_weights(client, wheel("efficientnet_lite0").read_bytes(), **more)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["modality"], answer.json()["backbone"]["width"]) == ("image", 1.0)
    pixels = np.zeros((1, 64, 64, 3), int).tolist()
    found = client.post("/v1/models/lite/embeddings", json={"inputs": pixels}).json()["embeddings"]
    assert np.shape(found) == (1, 1280)
    assert Path(services.settings.data_folder / "tmp").exists()
    assert not list((services.settings.data_folder / "tmp").iterdir())
