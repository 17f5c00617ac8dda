"""What a fine-tuning chooses in the trainer, as its user sees it; and features that the next job finds."""

from typing import Any

import pytest

from app.db.session import Database
from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of, run_drained, submit, upload
from tests.support.choosing import patient
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # no database selects anything

HEADS = [{"kind": "classifier", "target": "label"}]
ROWS = 90


@pytest.fixture
def labelled(client: Http, settings: Settings) -> str:
    """Two columns whose sum decides the label, and two of noise."""
    numbers = [[((row * step) % 97) / 97 - 0.5 for step in (31, 57, 11, 73)] for row in range(1, ROWS + 1)]
    lines = [
        ",".join(f"{value:.4f}" for value in row) + f",{'up' if row[0] + row[1] > 0 else 'down'}" for row in numbers
    ]
    dataset = upload(client, settings, "a,b,c,d,label\n" + "\n".join(lines) + "\n")
    submit(client, dataset, name="root")
    run_jobs(settings)
    return dataset


def fine_tune(client: Http, dataset: str, **fields: Any) -> str:
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": HEADS, "model": "root", **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def data_of(client: Http, job: str, kind: str) -> dict[str, Any]:
    (found,) = [event["data"] for event in events_of(client, job) if event["type"] == kind]
    return dict(found)


def strategy_of(client: Http, job: str) -> dict[str, Any]:
    (output,) = job_of(client, job)["outputs"]
    return dict(client.get(f"/v1/models/{output['model']}").json()["strategy"])


def test_a_pretrained_model_is_adapted_as_its_labels_say(client: Http, settings: Settings, labelled: str) -> None:
    job = fine_tune(client, labelled, training={"epochs": 3})
    assert job_of(client, job)["config"]["strategy"]["kind"] == "automatic"
    assert "strategy.kind" in {one["field"] for one in job_of(client, job)["config"]["decisions"]}
    run_jobs(settings)
    choice = data_of(client, job, "strategy.chosen")
    assert {rung["candidate"] for rung in choice["ladder"]} >= {"raw", "random_forest", "linear_probe", "full"}
    assert "linear_probe" in choice["scores"], "the first to be compared, however short the budget"
    assert all((rung["score"] is None) == (rung["reason"] is not None) for rung in choice["ladder"])
    assert strategy_of(client, job)["kind"] == choice["strategy"]
    assert job_of(client, job)["metrics"]["ladder"] == choice["ladder"]


def test_a_model_that_helps_less_than_the_rows_themselves_is_not_used(
    client: Http, settings: Settings, labelled: str
) -> None:
    """A sum of two columns is linear in the rows: what was pretrained on them can only lose some of it."""
    job = fine_tune(client, labelled, strategy={"kind": "automatic", "candidates": ["raw", "linear_probe"]})
    run_jobs(patient(settings))
    found = job_of(client, job)
    (output,) = found["outputs"]
    model = client.get(f"/v1/models/{output['model']}").json()
    assert (model["backbone"]["kind"], model["parent"]) == ("raw", None)
    (warning,) = [one for one in model["warnings"] if one["code"] == "model_not_used"]
    assert "linear_probe" in warning["remedy"]
    rows = [{"a": 0.4, "b": 0.4, "c": 0.0, "d": 0.1}, {"a": -0.4, "b": -0.4, "c": 0.0, "d": 0.1}]
    answers = client.post(f"/v1/models/{output['model']}/predictions", json={"inputs": rows}).json()["predictions"]
    assert [answer["label"]["class"] for answer in answers] == ["up", "down"]


def test_a_probe_that_was_compared_keeps_the_layer_that_it_was_compared_with(
    client: Http, settings: Settings, labelled: str
) -> None:
    job = fine_tune(client, labelled, strategy={"kind": "automatic", "candidates": ["linear_probe", "untrained"]})
    run_jobs(patient(settings))
    assert set(data_of(client, job, "strategy.chosen")["scores"]) == {"linear_probe", "untrained"}
    assert strategy_of(client, job)["layer"] == data_of(client, job, "layer.chosen")["layer"]


def test_a_model_that_is_too_costly_to_compare_is_taken_and_that_is_said(
    client: Http, settings: Settings, labelled: str
) -> None:
    """Who gives a model wants it: a budget of nothing is no proof against it."""
    job = fine_tune(client, labelled, strategy={"kind": "automatic", "budget_seconds": 0.05})
    run_jobs(settings)
    choice = data_of(client, job, "strategy.chosen")
    rungs = {rung["candidate"]: rung for rung in choice["ladder"]}
    assert "it would take about" in rungs["linear_probe"]["reason"]
    assert rungs["nearest_neighbours"]["score"] is not None, "another was compared"
    assert choice["selected"] == "linear_probe"
    (message,) = [event["message"] for event in events_of(client, job) if event["type"] == "strategy.chosen"]
    assert f"though it was not compared: {rungs['linear_probe']['reason']}" in message
    (output,) = job_of(client, job)["outputs"]
    assert client.get(f"/v1/models/{output['model']}").json()["parent"] is not None


def test_without_a_model_simple_ways_are_compared(client: Http, settings: Settings, labelled: str) -> None:
    body = {"kind": "fine_tuning", "dataset": labelled, "heads": HEADS}
    job = str(client.post("/v1/jobs", json=body).json()["id"])
    run_jobs(settings)
    ladder = {rung["candidate"]: rung for rung in job_of(client, job)["metrics"]["ladder"]}
    assert {"nearest_neighbours", "raw", "boosted_trees", "random_forest", "tabular_resnet", "scratch"} <= ladder.keys()
    assert all((rung["score"] is None) == (rung["reason"] is not None) for rung in ladder.values())
    choice = data_of(client, job, "strategy.chosen")
    assert choice["scores"][choice["selected"]] >= max(choice["scores"].values()) - 0.1


def test_trees_that_were_chosen_survive_a_drained_worker(
    client: Http, settings: Settings, database: Database, labelled: str
) -> None:
    job = fine_tune(client, labelled, strategy={"kind": "automatic", "candidates": ["random_forest", "boosted_trees"]})
    run_drained(settings, database)
    assert job_of(client, job)["status"] == "queued"
    run_jobs(settings)
    found = job_of(client, job)
    assert found["status"] == "succeeded"
    assert len([event for event in events_of(client, job) if event["type"] == "strategy.chosen"]) == 1
    assert [rung["candidate"] for rung in found["metrics"]["ladder"]] == ["random_forest", "boosted_trees"]


def test_a_solved_probe_tells_its_penalty_and_the_next_one_finds_its_features(
    client: Http, settings: Settings, labelled: str
) -> None:
    job = fine_tune(client, labelled, strategy={"kind": "linear_probe"})
    run_jobs(settings)
    solved = data_of(client, job, "heads.solved")["heads"]["label"]
    assert solved["strength"] in [score["strength"] for score in solved["scores"]]
    assert strategy_of(client, job)["layer"] == data_of(client, job, "layer.chosen")["layer"]
    (point,) = client.get(f"/v1/jobs/{job}/metrics").json()["data"]
    assert point["values"]["train/held_out_loss"] == pytest.approx(solved["held_out_loss"], rel=1e-5)
    assert "val/accuracy" in point["values"]
    kept = {path: path.stat().st_mtime_ns for path in settings.feature_cache.iterdir()}
    again = fine_tune(client, labelled, strategy={"kind": "linear_probe"}, name="again")
    run_jobs(settings)
    assert {path.name for path in settings.feature_cache.iterdir()} == {path.name for path in kept}
    assert all(path.stat().st_mtime_ns > before for path, before in kept.items())
    assert job_of(client, again)["metrics"] == job_of(client, job)["metrics"]


def test_a_resumed_attempt_keeps_what_the_first_one_chose(
    client: Http, settings: Settings, database: Database, labelled: str
) -> None:
    job = fine_tune(client, labelled, strategy={"kind": "automatic", "candidates": ["lp_ft", "full"]})
    run_drained(settings, database)
    run_drained(settings, database)
    run_jobs(settings)
    assert job_of(client, job)["status"] == "succeeded"
    chosen = data_of(client, job, "strategy.chosen")["strategy"]
    assert strategy_of(client, job)["kind"] == chosen
    solved = [event for event in events_of(client, job) if event["type"] == "heads.solved"]
    assert len(solved) == (chosen == "lp_ft")  # by the first attempt alone


def test_a_solved_probe_survives_a_drained_worker(
    client: Http, settings: Settings, database: Database, labelled: str
) -> None:
    job = fine_tune(client, labelled, strategy={"kind": "linear_probe"})
    run_drained(settings, database)
    assert job_of(client, job)["status"] == "queued"
    run_jobs(settings)
    found = job_of(client, job)
    assert (found["status"], found["progress"]["step"]) == ("succeeded", 1)


def test_partial_loading_is_told_in_the_answer_and_in_an_event(client: Http, settings: Settings, labelled: str) -> None:
    deeper = {"kind": "mlp", "hidden": [16, 8, 8]}
    job = fine_tune(client, labelled, backbone=deeper, loading="partial", strategy={"kind": "full"})
    (told,) = [one for one in job_of(client, job)["config"]["decisions"] if one["field"] == "loading"]
    assert told["reason"].startswith("4 tensors taken over, 0 resized, 2 new")
    run_jobs(settings)
    assert len(data_of(client, job, "weights.loaded")["matched"]) == 4
    refused = client.post(
        "/v1/jobs",
        json={
            "kind": "fine_tuning",
            "dataset": labelled,
            "heads": HEADS,
            "model": "root",
            "backbone": {"kind": "mlp", "hidden": [5]},
            "loading": "partial",
        },
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "loading"]
