"""/v1/jobs, with the real runner behind it: submitted, looked at, run, refused, cancelled."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import JobRow
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

TRAINING = {"epochs": 2, "batch_size": 16}
Upload = Callable[..., str]


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def images(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)


@pytest.fixture
def upload(client: Http, settings: Settings) -> Upload:
    def send(content: bytes, *, prepare: bool = True, **fields: str) -> str:
        answer = client.post("/v1/datasets", files={"file": ("d.npz", content)}, data={"name": "d", **fields})
        assert answer.status_code == 202, answer.text
        if prepare:
            run_jobs(settings)
        return str(answer.json()["id"])

    return send


@pytest.fixture
def unlabelled(upload: Upload) -> str:
    return upload(npz(x=images(60)))


@pytest.fixture
def labelled(upload: Upload) -> str:
    return upload(npz(x=images(60, seed=1), y=np.arange(60) % 3))


def pretraining(dataset: str, **fields: Any) -> dict[str, Any]:
    backbone = {"kind": "mlp", "hidden": [16, 8]}
    return {"kind": "pretraining", "dataset": dataset, "backbone": backbone, "training": TRAINING, **fields}


def fine_tuning(dataset: str, model: str | None, **fields: Any) -> dict[str, Any]:
    heads = [{"kind": "classifier", "target": "label"}]
    return {"kind": "fine_tuning", "dataset": dataset, "model": model, "heads": heads, "training": TRAINING, **fields}


def submit(client: Http, body: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json=body, **options)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == job["links"]["self"]
    return job


def digest(model: dict[str, Any], name: str) -> str:
    (found,) = [file["sha256"] for file in model["files"] if file["name"] == name]
    return str(found)


def test_a_pretraining_and_a_fine_tuning_run_to_registered_models(
    client: Http, settings: Settings, queue: MemoryQueue, unlabelled: str, labelled: str
) -> None:
    rings = queue.rings
    job = submit(client, pretraining(unlabelled, name="root", metadata={"team": "a"}))
    assert (job["status"], job["queue_position"], job["attempt"]) == ("queued", 0, 0)
    assert queue.rings == rings + 1
    assert run_jobs(settings) == 1
    done = client.get(f"/v1/jobs/{job['id']}").json()
    assert (done["status"], done["error"], done["attempt"]) == ("succeeded", None, 1)
    assert done["progress"]["fraction"] == 1.0
    assert done["metadata"] == {"team": "a"}
    assert done["queue_position"] is None
    (output,) = done["outputs"]

    child = submit(client, fine_tuning(labelled, "root", name="branch", strategy={"kind": "linear_probe"}))
    run_jobs(settings)
    child = client.get(f"/v1/jobs/{child['id']}").json()
    assert child["status"] == "succeeded", child["error"]
    assert child["model"] == output["model"]
    assert 0 <= child["metrics"]["heads"]["label"]["accuracy"] <= 1
    model = client.get("/v1/models/branch@1").json()
    assert (model["parent"], model["job"], model["dataset"]) == (output["model"], child["id"], labelled)
    parent = client.get(f"/v1/models/{output['model']}").json()
    assert digest(model, "backbone.safetensors") == digest(parent, "backbone.safetensors")
    assert digest(model, "heads.safetensors")

    inputs = images(3, seed=5).tolist()
    answer = client.post("/v1/models/branch/predictions", json={"inputs": inputs}).json()
    assert len(answer["predictions"]) == 3
    assert answer["model"]["id"] == model["id"]


@pytest.mark.parametrize("kind", [np.float32, np.bool_])
def test_a_model_is_asked_in_the_scale_of_its_dataset(
    client: Http, settings: Settings, upload: Upload, unlabelled: str, kind: type[np.generic]
) -> None:
    x, y = images(60, seed=2) > 127, np.arange(60) % 3
    small, large = upload(npz(x=x.astype(kind), y=y)), upload(npz(x=x * np.uint8(255), y=y))
    submit(client, pretraining(unlabelled, name="root"))  # on bytes: the new model speaks its own dataset's scale
    run_jobs(settings)
    for parent in ("root", None):
        unit, whole = f"unit-{parent}", f"bytes-{parent}"  # a name of one version: no former one answers meanwhile
        for name, dataset in ((unit, small), (whole, large)):
            strategy = {"kind": "linear_probe" if parent else "full"}
            submit(client, fine_tuning(dataset, parent, name=name, training={**TRAINING, "seed": 1}, strategy=strategy))
        assert run_jobs(settings) == 2
        answers, same = (
            client.post(f"/v1/models/{name}/predictions", json={"inputs": inputs.tolist()}).json()["predictions"]
            for name, inputs in ((unit, x[:20].astype(kind)), (whole, x[:20] * 255))
        )
        assert answers == same
        assert len({str(answer) for answer in answers}) > 1
    refused = client.post("/v1/models/unit-None/predictions", json={"inputs": (x[:2] * 255).tolist()})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"][-1] == 0


def test_events_and_metrics_tell_the_story(client: Http, settings: Settings, unlabelled: str) -> None:
    job = submit(client, pretraining(unlabelled))
    run_jobs(settings)
    events = client.get(f"/v1/jobs/{job['id']}/events").json()
    assert [event["seq"] for event in events["data"]] == list(range(1, len(events["data"]) + 1))
    types = [event["type"] for event in events["data"]]
    assert types == [
        "job.queued",
        "attempt.started",
        "job.running",
        "checkpoint.saved",
        "training.finished",
        "job.finalizing",
        "job.succeeded",
    ]
    page = client.get(f"/v1/jobs/{job['id']}/events?after=2&limit=2").json()
    assert ([event["seq"] for event in page["data"]], page["has_more"]) == ([3, 4], True)
    points = client.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]
    assert points[0]["step"] == 1
    assert points[-1]["step"] == points[-1]["epoch"] * 3 + 3 == 6
    assert {"train/loss", "train/lr"} <= set(points[0]["values"])
    assert any("val/loss" in point["values"] for point in points)


def test_the_answer_says_what_auto_became(client: Http, unlabelled: str) -> None:
    job = submit(client, {"kind": "pretraining", "dataset": unlabelled})
    assert "auto" not in [job["config"]["backbone"], job["config"]["training"]["batch_size"]]
    fields = {decision["field"] for decision in job["config"]["decisions"]}
    assert {"backbone", "training.batch_size", "training.optimizer.lr", "name"} <= fields
    assert all(decision["reason"] for decision in job["config"]["decisions"])


def test_a_job_needs_a_ready_dataset(client: Http, upload: Upload) -> None:
    dataset = upload(npz(x=images(20)), prepare=False)
    answer = client.post("/v1/jobs", json=pretraining(dataset))
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_not_ready")
    answer = client.post("/v1/jobs", json=pretraining("ds_" + "0" * 32))
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"heads": [{"kind": "classifier", "target": "nothing"}]}, ["body", "heads", 0, "target"]),
        ({"heads": [{"kind": "regressor", "target": "label"}]}, ["body", "heads", 0, "kind"]),
    ],
)
def test_a_choice_that_does_not_fit_the_data_is_refused_by_name(
    client: Http, queue: MemoryQueue, labelled: str, change: dict[str, Any], loc: list[str | int]
) -> None:
    rings = queue.rings
    answer = client.post("/v1/jobs", json=fine_tuning(labelled, None, **change))
    assert answer.status_code == 422
    assert answer.json()["code"] == "config_does_not_fit"
    assert answer.json()["errors"][0]["loc"] == loc
    assert queue.rings == rings
    assert client.get("/v1/jobs?kind=fine_tuning").json()["data"] == []


PLACES: list[tuple[dict[str, Any], list[str | int]]] = [
    ({"training": {"epochs": 0}}, ["body", "training", "epochs"]),
    ({"training": {"optimizer": {"kind": "adamw", "lr": -1}}}, ["body", "training", "optimizer", "lr"]),
    ({"backbone": {"kind": "mlp", "hidden": [4, 0]}}, ["body", "backbone", "hidden", 1]),
    ({"backbone": {"kind": "mlp", "depth": 3}}, ["body", "backbone", "depth"]),
    ({"backbone": {"kind": "nonesuch"}}, ["body", "backbone"]),
    ({"method": {"kind": "autoencoder", "regularizer": {"kind": "l2", "strength": -1}}},
     ["body", "method", "regularizer", "strength"]),
]  # fmt: skip


def test_an_error_names_the_place_as_it_was_sent(client: Http, unlabelled: str) -> None:
    for change, place in PLACES:
        answer = client.post("/v1/jobs", json={**pretraining(unlabelled), **change})
        assert [error["loc"] for error in answer.json()["errors"]] == [place]


def test_a_missing_field_is_named(client: Http) -> None:
    answer = client.post("/v1/jobs", json={"kind": "pretraining"})
    assert answer.json()["errors"][0]["loc"] == ["body", "dataset"]


BAD_FIELDS: list[dict[str, Any]] = [
    {"unknown": 1},
    {"training": {"epochs": 1e9}},
    {"training": {"epochs": 0}},
    {"training": {"epochs": 2, "steps": 2}},
    {"training": {"batch_size": 0}},
    {"training": {"batch_size": True}},
    {"training": {"batch_size": 2**31}},
    {"training": {"optimizer": {"kind": "adamw", "lr": "0.1"}}},
    {"training": {"optimizer": {"kind": "adamw", "lr": -1}}},
    {"training": {"optimizer": {"kind": "nonesuch"}}},
    {"backbone": {"kind": "../../etc/passwd"}},
    {"backbone": {"kind": "mlp", "hidden": []}},
    {"backbone": {"kind": "mlp", "hidden": [8] * 1000}},
    {"backbone": "https://example.com/model"},
    {"method": {"kind": "autoencoder", "regularizer": {"kind": "l2", "strength": -1}}},
    {"name": "../up"},
    {"name": "a" * 300},
    {"metadata": {"k": "v" * 2000}},
    {"metadata": {str(number): "v" for number in range(100)}},
    {"resources": {"device": "tpu"}},
    {"resources": {"devices": 9}},
    {"priority": 101},
]


def test_bad_fields_are_refused(client: Http, unlabelled: str) -> None:
    for change in BAD_FIELDS:
        answer = client.post("/v1/jobs", json={**pretraining(unlabelled), **change}, headers={})
        assert answer.status_code == 422, (change, answer.text)
        problem = answer.json()
        assert problem["errors"], change
        assert problem["errors"][0]["loc"][0] == "body", change


def test_what_is_solved_for_at_once_is_refused_on_several_devices(client: Http, labelled: str) -> None:
    exact = {"kind": "linear_probe", "solver": "exact"}
    body = fine_tuning(labelled, None, backbone={"kind": "mlp"}, strategy=exact, resources={"devices": 2})
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["body", "resources", "devices"]
    assert "solved for at once" in error["msg"]


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_a_number_without_a_value_is_refused(client: Http, unlabelled: str, number: str) -> None:
    body = pretraining(unlabelled, training={"optimizer": {"kind": "adamw", "lr": 0.125}})
    content = json.dumps(body).replace("0.125", number)
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_the_same_key_gets_the_same_answer(client: Http, queue: MemoryQueue, unlabelled: str) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = submit(client, pretraining(unlabelled), headers=headers)
    rings = queue.rings
    assert submit(client, pretraining(unlabelled), headers=headers) == first
    assert queue.rings == rings
    assert len(client.get("/v1/jobs?kind=pretraining").json()["data"]) == 1
    other = client.post("/v1/jobs", json=pretraining(unlabelled, name="other"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    odd = client.post("/v1/jobs", json=pretraining(unlabelled), headers={"Idempotency-Key": "k" * 256})
    assert (odd.status_code, odd.json()["code"]) == (400, "invalid_idempotency_key")


def test_jobs_are_listed_in_pages(client: Http, unlabelled: str) -> None:
    ids = [submit(client, pretraining(unlabelled))["id"] for _ in range(3)]
    page = client.get("/v1/jobs?kind=pretraining&limit=2").json()
    assert [job["id"] for job in page["data"]] == ids[:0:-1]
    assert page["has_more"] is True
    rest = client.get(f"/v1/jobs?kind=pretraining&limit=2&after={page['last_id']}").json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    oldest = client.get("/v1/jobs?kind=pretraining&order=asc&limit=1").json()
    assert oldest["data"][0]["id"] == ids[0]
    assert [client.get(f"/v1/jobs/{job}").json()["queue_position"] for job in ids] == [0, 1, 2]


def test_cancel_before_the_start_ends_the_job_and_twice_is_no_error(
    client: Http, settings: Settings, unlabelled: str
) -> None:
    job = submit(client, pretraining(unlabelled))
    for _ in range(2):
        answer = client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert run_jobs(settings) == 0


def test_an_ended_job_cannot_be_cancelled(client: Http, settings: Settings, unlabelled: str) -> None:
    job = submit(client, pretraining(unlabelled))
    run_jobs(settings)
    answer = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_has_ended")


def test_a_project_has_a_most_of_unfinished_jobs(
    client: Http, settings: Settings, database: Database, unlabelled: str
) -> None:
    job = submit(client, pretraining(unlabelled))
    client.app.state.services.settings.__dict__["max_queued_jobs"] = 1
    answer = client.post("/v1/jobs", json=pretraining(unlabelled))
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_jobs")
    assert int(answer.headers["retry-after"]) > 0
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job["id"]).values(status="cancelled"))
    submit(client, pretraining(unlabelled))


def test_a_model_that_does_not_fit_is_refused(client: Http, settings: Settings, upload: Upload, labelled: str) -> None:
    big = upload(npz(x=np.random.default_rng(0).integers(0, 255, (30, 9, 9), dtype=np.uint8)))
    submit(client, pretraining(big, name="big"))
    run_jobs(settings)
    answer = client.post("/v1/jobs", json=fine_tuning(labelled, "big"))
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "model"])
    missing = client.post("/v1/jobs", json=fine_tuning(labelled, "nothing"))
    assert missing.status_code == 404
