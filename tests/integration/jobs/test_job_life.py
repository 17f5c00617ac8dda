"""How a job ends, other than well: drained, damaged, diverged, refused by its worker; and a table from end to end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlxtend.data import autompg_data

from app.db.session import Database
from app.jobs import lease as leases
from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs
from worker.attempt.drain import Draining
from worker.process import runner

pytestmark = pytest.mark.one_database

BACKBONE = {"kind": "mlp", "hidden": [16, 8]}
TRAINING: dict[str, Any] = {"steps": 12, "batch_size": 16, "seed": 1}
BODY = {"kind": "pretraining", "backbone": BACKBONE}


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    rng = np.random.default_rng(0)
    rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rng.normal(size=(60, 4)))
    return upload(client, settings, f"a,b,c,d\n{rows}\n")


def upload(client: Http, settings: Settings, text: str, **fields: str) -> str:
    answer = client.post("/v1/datasets", files={"file": ("rows.csv", text.encode())}, data={"name": "rows", **fields})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    found = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert found["status"] == "ready", found["error"]
    return str(found["id"])


def submit(client: Http, dataset: str, **fields: Any) -> str:
    body = {"kind": "pretraining", "dataset": dataset, "backbone": BACKBONE, "training": TRAINING, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job_of(client: Http, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def done(client: Http, settings: Settings, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a job and run it; it has to succeed."""
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job = job_of(client, answer.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def events_of(client: Http, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    return found


def run_drained(settings: Settings, database: Database) -> None:
    """One attempt whose worker is to end from its first step on."""
    with database.writing() as session:
        lease = leases.claim(session, "drained", 60)
    assert lease is not None
    draining = Draining()
    draining.set()
    runner.run(lease, draining, settings)


def weights(client: Http, job: str) -> str:
    (output,) = job_of(client, job)["outputs"]
    files = client.get(f"/v1/models/{output['model']}").json()["files"]
    return str(next(file["sha256"] for file in files if file["name"] == "backbone.safetensors"))


def test_a_drained_job_goes_back_with_a_checkpoint_and_ends_as_if_nothing_had_been(
    client: Http, settings: Settings, database: Database, dataset: str
) -> None:
    undisturbed = submit(client, dataset)
    run_jobs(settings)
    job = submit(client, dataset)
    for _ in range(3):
        run_drained(settings, database)
    waiting = job_of(client, job)
    assert (waiting["status"], waiting["attempt"]) == ("queued", 0)
    kept = client.get(f"/v1/jobs/{job}/checkpoints").json()["data"]
    assert [checkpoint["step"] for checkpoint in kept] == [3, 2]
    run_jobs(settings)
    assert job_of(client, job)["attempt"] == 1
    assert weights(client, job) == weights(client, undisturbed)
    assert [event["data"]["step"] for event in events_of(client, job) if event["type"] == "job.running"] == [0, 1, 2, 3]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:100]), "emptied": b""}[how])


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "gone"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    client: Http, settings: Settings, database: Database, dataset: str, how: str
) -> None:
    job = submit(client, dataset)
    for _ in range(2):
        run_drained(settings, database)
    newest = next((settings.data_folder / "artifacts" / "jobs" / job).rglob("s2.safetensors"))
    if how == "gone":
        newest.unlink()
    else:
        damage(newest, how)
    run_jobs(settings)
    assert job_of(client, job)["status"] == "succeeded"
    (told,) = [event for event in events_of(client, job) if event["type"] == "checkpoint.damaged"]
    assert (told["level"], told["data"]["step"]) == ("warning", 2)
    assert [event["data"]["step"] for event in events_of(client, job) if event["type"] == "job.running"] == [0, 1, 1]


def test_old_checkpoints_go(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, dataset, training={**TRAINING, "checkpoint_steps": 3})
    run_jobs(settings)
    kept = client.get(f"/v1/jobs/{job}/checkpoints").json()["data"]
    assert [checkpoint["step"] for checkpoint in kept] == [12, 9]
    files = sorted((settings.data_folder / "artifacts" / "jobs" / job).rglob("*.safetensors"))
    assert [file.name for file in files] == ["s12.safetensors", "s9.safetensors"]
    assert not list((settings.data_folder / "tmp").iterdir())


def test_a_diverged_training_fails_in_words(client: Http, settings: Settings, dataset: str) -> None:
    wild = {**TRAINING, "steps": 200, "optimizer": {"kind": "sgd", "lr": 100}, "schedule": {"kind": "constant"}}
    job = submit(client, dataset, training=wild)
    run_jobs(settings)
    done = job_of(client, job)
    assert (done["status"], done["outputs"]) == ("failed", [])
    assert (done["error"]["code"], done["error"]["category"]) == ("diverged", "user")
    assert done["error"]["param"] == "training.optimizer.lr"
    assert "learning rate 25, gradient norm not finite" in done["error"]["message"]
    restored = [event["data"] for event in events_of(client, job) if event["type"] == "training.restored"]
    assert [(one["lr"], one["rate"], one["back_to"]) for one in restored] == [(100, 0.5, 0), (50, 0.25, 0)]


def test_a_training_that_goes_astray_goes_back_and_on_at_half_the_rate(
    client: Http, settings: Settings, dataset: str
) -> None:
    wild = {"steps": 60, "optimizer": {"kind": "sgd", "lr": 4, "momentum": 0}, "schedule": {"kind": "constant"}}
    job = submit(client, dataset, training={**TRAINING, **wild})
    run_jobs(settings)
    assert job_of(client, job)["status"] == "succeeded"
    restored = [event["data"] for event in events_of(client, job) if event["type"] == "training.restored"]
    assert [(one["lr"], one["rate"], one["back_to"]) for one in restored] == [(4, 0.5, 0), (2, 0.25, 0)]
    points = client.get(f"/v1/jobs/{job}/metrics").json()["data"]
    told = {point["values"]["train/lr"] for point in points if "train/lr" in point["values"]}
    assert (told, points[-1]["step"]) == ({1.0}, 60)


def test_a_training_that_goes_astray_in_its_last_step_is_not_registered(
    client: Http, settings: Settings, dataset: str
) -> None:
    method = {"kind": "autoencoder", "regularizer": {"kind": "l2", "strength": 1e6}}
    wild = {"steps": 1, "optimizer": {"kind": "sgd", "lr": 100, "momentum": 0}, "schedule": {"kind": "constant"}}
    deep = {"kind": "mlp", "hidden": [64] * 8}
    job = submit(client, dataset, method=method, training=wild, backbone=deep)
    run_jobs(settings)
    done = job_of(client, job)
    assert (done["status"], done["error"] and done["error"]["code"]) == ("failed", "diverged")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and the job runs on it")
def test_a_gpu_that_is_not_there_is_said(client: Http, settings: Settings, dataset: str) -> None:
    job = submit(client, dataset, resources={"device": "cuda"})
    run_jobs(settings)
    assert job_of(client, job)["error"]["param"] == "resources.device"


def test_a_damaged_dataset_is_never_trained_on(client: Http, settings: Settings, dataset: str) -> None:
    for path in (settings.data_folder / "artifacts" / "blobs").rglob("*"):
        if path.is_file():
            damage(path, "flipped")
    job = submit(client, dataset)
    run_jobs(settings)
    error = job_of(client, job)["error"]
    assert (error["code"], error["category"]) == ("corrupt_artifact", "platform")


def test_a_table_with_numbers_categories_and_gaps_gets_a_regressor(client: Http, settings: Settings) -> None:
    x, y = autompg_data()
    lines = ["cylinders,displacement,horsepower,weight,acceleration,year,origin,mpg"]
    for row, mpg in zip(x, y, strict=True):
        values = [f"{value:g}" for value in row[:7]]
        values[2] = "" if values[2] == "nan" else values[2]
        values[6] = {"1": "usa", "2": "europe", "3": "japan"}[values[6]]
        lines.append(",".join([*values, f"{mpg:.1f}"]))
    lines[5] = lines[5].replace(lines[5].split(",")[2], "", 1)
    dataset = upload(client, settings, "\n".join(lines) + "\n", columns='{"mpg": "target"}')
    body = {
        "kind": "fine_tuning",
        "dataset": dataset,
        "model": None,
        "name": "mpg",
        "heads": [{"kind": "regressor", "target": "mpg"}],
        "backbone": {"kind": "mlp", "hidden": [32, 16]},
        "training": {"epochs": 60},
    }
    job = client.post("/v1/jobs", json=body).json()["id"]
    run_jobs(settings)
    done = job_of(client, job)
    assert done["status"] == "succeeded", done["error"]
    found = done["metrics"]["heads"]["mpg"]
    assert {"mae", "rmse", "r2"} <= set(found)
    assert found["r2"] > 0.6
    assert found["mae"] <= found["rmse"]
    car = {
        "cylinders": 4, "displacement": 97, "horsepower": None, "weight": 2130,
        "acceleration": 14.5, "year": 70, "origin": "japan",
    }  # fmt: skip
    answer = client.post("/v1/models/mpg/predictions", json={"inputs": [car, {**car, "origin": "unheard of"}]})
    assert answer.status_code == 200, answer.text
    assert all(10 < one["mpg"]["value"] < 50 for one in answer.json()["predictions"])
    bad = client.post("/v1/models/mpg/predictions", json={"inputs": [car, {**car, "weight": "heavy"}]})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["loc"][:2] == ["inputs", 1]
    assert "weight" in str(bad.json()["errors"][0])


def test_the_weights_of_the_model_matter(client: Http, settings: Settings) -> None:
    """The classic fault of this field, through the whole service: a child must change with its parent's weights."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(90, 4))
    labels = (rows[:, 0] > 0).astype(int)
    text = "a,b,c,d,label\n" + "\n".join(
        ",".join([*(f"{value:.4f}" for value in row), f"class{label}"]) for row, label in zip(rows, labels, strict=True)
    )
    dataset = upload(client, settings, text + "\n")
    for seed in (1, 2):
        submit(client, dataset, name=f"root{seed}", training={**TRAINING, "seed": seed})
    run_jobs(settings)
    losses = []
    for model in ("root1", "root1", "root2"):
        heads = [{"kind": "classifier", "target": "label"}]
        fields = {"dataset": dataset, "model": model, "heads": heads, "training": TRAINING}
        body = {"kind": "fine_tuning", "strategy": {"kind": "linear_probe"}, **fields}
        job = client.post("/v1/jobs", json=body).json()["id"]
        run_jobs(settings)
        losses.append(job_of(client, job)["metrics"]["losses"]["loss"])
        assert weights(client, job) == weights_of(client, model)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def weights_of(client: Http, model: str) -> str:
    files = client.get(f"/v1/models/{model}").json()["files"]
    return str(next(file["sha256"] for file in files if file["name"] == "backbone.safetensors"))


@pytest.mark.parametrize(("asked", "told"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_a_job_tells_in_which_arithmetic_it_computes(
    client: Http, settings: Settings, dataset: str, asked: str, told: str
) -> None:
    job = submit(client, dataset, training={**TRAINING, "precision": asked})
    run_jobs(settings)
    (started,) = [one for one in events_of(client, job) if one["message"] == "Training started."]
    assert started["data"]["precision"] == told


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_training_that_stops_early_is_done_and_says_whose_weights_it_kept(
    client: Http, settings: Settings, dataset: str
) -> None:
    training = {"epochs": 40, "batch_size": 16, "early_stopping": {"patience": 2, "min_delta": 1e6}}
    job = done(client, settings, "/v1/jobs", {**BODY, "dataset": dataset, "training": training})
    progress = job["progress"]
    assert (progress["fraction"], progress["eta_seconds"]) == (1.0, 0.0)
    measured = [point["values"] for point in client.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]]
    assert progress["loss"] == [values["train/loss"] for values in measured if "train/loss" in values][-1]
    assert progress["step"] < progress["total_steps"]
    assert progress["kept_step"] == progress["step"] // 3
    (end,) = [event for event in events_of(client, job["id"]) if event["type"] == "training.finished"]
    assert end["message"].endswith(f"(early_stopping). The weights of step {progress['kept_step']} are kept.")
    whole = done(client, settings, "/v1/jobs", {**BODY, "dataset": dataset, "training": TRAINING})
    assert (whole["progress"]["fraction"], whole["progress"]["kept_step"]) == (1.0, 12)
