"""Datasets whose inputs are in shards, over HTTP and in jobs, on the local disk and in a bucket."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.db.session import Database
from app.main import create_app
from app.ml.data import arrays
from app.queue import MemoryQueue
from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of
from tests.support.http import Http
from tests.support.servers import make_bucket, s3
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

ROWS, SHARD_BYTES = 600, 20 * 64
FILE_BYTES = SHARD_BYTES + 128  # with its header
TRAINING = {"epochs": 2, "batch_size": 32, "checkpoint_steps": 5, "seed": 1}


def prepare(client: Http, settings: Settings) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 200, (ROWS, 8, 8, 1))
    pixels += 20 * (np.arange(ROWS) % 2)[:, None, None, None]
    buffer = io.BytesIO()
    np.savez(buffer, x=pixels.astype(np.uint8), y=np.arange(ROWS) % 2)
    answer = client.post("/v1/datasets", files={"file": ("rows.npz", buffer.getvalue())}, data={"name": "rows"})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    dataset: dict[str, Any] = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert dataset["status"] == "ready", dataset["error"]
    return dataset


def pretrain(client: Http, settings: Settings, dataset: str, **fields: Any) -> dict[str, Any]:
    body = {
        "kind": "pretraining",
        "dataset": dataset,
        "backbone": {"kind": "mlp", "hidden": [8]},
        "method": {"kind": "autoencoder"},
        "training": TRAINING,
    }
    answer = client.post("/v1/jobs", json={**body, **fields})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    return job_of(client, answer.json()["id"])


def weights_of(client: Http, job: dict[str, Any]) -> dict[str, str]:
    assert job["status"] == "succeeded", job["error"]
    files = client.get(f"/v1/models/{job['outputs'][0]['model']}").json()["files"]
    return {file["name"]: file["sha256"] for file in files if file["name"].endswith(".safetensors")}


@pytest.fixture(params=["disk", "bucket"])
def sharded(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a service that stores shards of 20 rows, on the local disk or in a bucket."""
    if request.param == "disk":
        yield settings.model_copy(update={"shard_bytes": SHARD_BYTES})
        return
    with s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield settings.model_copy(update={"shard_bytes": SHARD_BYTES, "artifacts_url": make_bucket(variables)})


@pytest.fixture
def service(sharded: Settings, key: str, database: Database, queue: MemoryQueue) -> Iterator[Http]:
    app = create_app(sharded, queue=queue)
    yield Http(app, key)
    app.state.services.database.close()


def test_a_dataset_larger_than_the_cache_is_learned_from_as_one_that_fits(
    service: Http, sharded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", 0)
    small = sharded.model_copy(update={"shard_cache_bytes": 10 * FILE_BYTES})
    dataset = prepare(service, sharded)
    assert [item["value"] for item in dataset["decisions"] if item["field"] == "order"] == ["shuffled by shards"]
    through_cache = pretrain(service, small, dataset["id"])
    if sharded.artifacts_url:
        cached = [path for path in (sharded.data_folder / "cache").rglob("*") if path.is_file()]
        assert not [path for path in cached if path.stat().st_size == FILE_BYTES], "copies of shards stay nowhere"
    everything = pretrain(service, sharded, dataset["id"])
    assert weights_of(service, everything) == weights_of(service, through_cache)
    (order,) = [event for event in events_of(service, through_cache["id"]) if event["type"] == "training.order"]
    assert order["data"]["shards"] > order["data"]["window"]


def test_rows_in_shards_are_shown(service: Http, sharded: Settings) -> None:
    dataset = prepare(service, sharded)["id"]
    rows = service.get(f"/v1/datasets/{dataset}/rows", params={"offset": 50, "limit": 100}).json()
    assert ([row["row"] for row in rows["data"]], rows["total"]) == (list(range(50, 150)), ROWS)
    body = {"rows": [3], "augmentations": [{"kind": "flip"}]}
    shown = service.post(f"/v1/datasets/{dataset}/previews", json=body)
    assert shown.status_code == 200, shown.text
    leaks = service.get(f"/v1/datasets/{dataset}/leaks", params={"against": dataset})
    assert leaks.status_code == 200, leaks.text


def test_a_cache_that_is_too_small_is_refused_with_the_remedy(service: Http, sharded: Settings) -> None:
    dataset = prepare(service, sharded)["id"]
    size = 3 * FILE_BYTES
    failed = pretrain(service, sharded.model_copy(update={"shard_cache_bytes": size}), dataset)
    assert failed["status"] == "failed"
    assert f"raise that setting to {9 * FILE_BYTES}" in failed["error"]["message"]
    assert f"GRAFTWORK_SHARD_CACHE_BYTES is {size}" in failed["error"]["message"]


def test_heads_evaluations_and_batch_predictions_read_shards(service: Http, sharded: Settings) -> None:
    dataset = prepare(service, sharded)["id"]
    job = pretrain(service, sharded, dataset)
    model = job["outputs"][0]["model"]
    body = {"model": model, "dataset": dataset, "target": "label", "name": "parity"}
    heads = service.post("/v1/heads", json=body)
    assert heads.status_code == 201, heads.text
    evaluation = service.post("/v1/jobs", json={"kind": "evaluation", "model": "parity", "dataset": dataset})
    answers = service.post("/v1/jobs", json={"kind": "batch_prediction", "model": "parity", "dataset": dataset})
    small = sharded.model_copy(update={"shard_cache_bytes": 10 * FILE_BYTES})
    for answer in (evaluation, answers):
        assert answer.status_code == 202, answer.text
        run_jobs(small)
        ended = job_of(service, answer.json()["id"])
        assert ended["status"] == "succeeded", ended["error"]
