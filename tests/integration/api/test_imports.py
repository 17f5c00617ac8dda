"""Importing weights over HTTP, and what an imported model can then do."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.dependencies import Services
from app.models import importing
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.weights import PIXELS, VIT, as_file, send_weights, small_vit, wheel
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
    for strategy in ({"kind": "linear_probe"}, {"kind": "lora"}, {"kind": "layerwise_decay"}):
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


OF_VIT: dict[str, Any] = {"name": "photos", "architecture": "vit", "vocab": None, "config": VIT}


def package_of_vit() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photos/model.safetensors", as_file(small_vit("vit.")))
        archive.writestr("photos/config.json", json.dumps({**VIT, "model_type": "vit", "id2label": {"0": "cat"}}))
        archive.writestr("photos/preprocessor_config.json", json.dumps({**PIXELS, "size": {"height": 8, "width": 8}}))
    return file.getvalue()


def test_a_vision_transformer_says_what_was_decided_and_is_doubtful(client: Http) -> None:
    packed = send_weights(client, package_of_vit(), **{**OF_VIT, "config": None})
    assert packed.status_code == 201, packed.text
    whole, plain = packed.json(), send_weights(client, as_file(small_vit()), **OF_VIT, preprocessor=PIXELS).json()
    for model in (whole, plain):
        assert (model["modality"], model["decisions"], model["warnings"]) == ("image", [], [])
        assert (model["backbone"]["kind"], model["backbone"]["pooling"]) == ("vit", "first")
    assert whole["files"][0]["sha256"] == plain["files"][0]["sha256"]
    bare = send_weights(client, as_file(small_vit()), **OF_VIT).json()
    assert [decision["field"] for decision in bare["decisions"]] == ["preprocessor"]
    assert [warning["code"] for warning in bare["warnings"]] == ["guessed_scaling"]
    assert client.get(f"/v1/models/{bare['id']}").json()["decisions"] == bare["decisions"]
    larger = send_weights(client, as_file(small_vit()), **OF_VIT, preprocessor=PIXELS, image_size="32").json()
    assert larger["signature"]["image"]["height"] == 32
    assert [decision["field"] for decision in larger["decisions"]] == ["image_size"]
    wrong = check_problem(send_weights(client, as_file(small_vit()), **OF_VIT, preprocessor="[]"), 422)
    assert wrong["errors"][0]["loc"] == ["body", "preprocessor"]  # type: ignore[index]
    refused = check_problem(send_weights(client, as_file(small_vit()), **{**OF_VIT, "config": None}), 422)
    assert refused["errors"][0]["loc"] == ["body", "config", "num_attention_heads"]  # type: ignore[index]


@SQLITE
def test_an_imported_vision_transformer_is_tuned_probed_and_exported(client: Http, services: Services) -> None:
    parent = send_weights(client, package_of_vit(), **{**OF_VIT, "config": None}).json()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    classes = np.arange(60) % 2
    pixels[classes == 1] //= 4
    file = io.BytesIO()
    np.savez(file, x=pixels, y=classes)
    answer = client.post("/v1/datasets", files={"file": ("d.npz", file.getvalue())}, data={"name": "d"})
    assert run_jobs(services.settings) == 1
    dataset = answer.json()["id"]
    head = client.post("/v1/heads", json={"model": "photos", "dataset": dataset, "target": "label", "layer": 0})
    assert head.status_code == 201, head.text
    heads = [{"kind": "classifier", "target": "label"}]
    training = {"epochs": 40, "batch_size": 16, "optimizer": {"kind": "adamw", "lr": 0.01}}
    for strategy in ({"kind": "linear_probe"}, {"kind": "lora"}, {"kind": "full"}):
        body = {"kind": "fine_tuning", "dataset": dataset, "model": "photos", "heads": heads, "strategy": strategy}
        job = client.post("/v1/jobs", json={**body, "training": training}).json()
        assert run_jobs(services.settings) == 1
        done = client.get(f"/v1/jobs/{job['id']}").json()
        assert done["status"] == "succeeded", done["error"]
        made = client.get(f"/v1/models/{done['outputs'][0]['model']}").json()
        assert made["parent"] == parent["id"]
        inputs = {"inputs": pixels.tolist()}
        predictions = client.post(f"/v1/models/{made['id']}/predictions", json=inputs).json()["predictions"]
        right = [int(one["label"]["class"]) == label for one, label in zip(predictions, classes, strict=True)]
        assert np.mean(right) > 0.9
    for form in ("safetensors", "onnx"):
        job = client.post("/v1/jobs", json={"kind": "export", "model": made["id"], "format": form}).json()
        assert run_jobs(services.settings) == 1
        assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "succeeded"
