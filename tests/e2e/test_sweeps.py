"""A sweep under a real worker: one slot for the sweep and its trials, and kills of the whole worker tree."""

import json
from typing import Any

import pytest

from graftwork import Graftwork
from tests.e2e.test_service import Digits
from tests.support.servers import HANGS, Service, wait_until

SPACE = {
    "training.optimizer.lr": {"kind": "log_uniform", "low": 1e-4, "high": 1e-1},
    "training.optimizer.weight_decay": {"kind": "uniform", "low": 0, "high": 0.1},
}


def start(graftwork: Graftwork, dataset: str, name: str) -> str:
    base = {
        "kind": "fine_tuning",
        "dataset": dataset,
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": {"kind": "mlp", "hidden": [128, 64]},
        "training": {"steps": 200, "batch_size": 32, "checkpoint_steps": 50, "evaluate_every": 1},
    }
    job = graftwork.jobs.sweep(base=base, space=SPACE, name=name, trials=3, algorithm={"kind": "tpe"}, seed=2)
    return str(job["id"])


def result(graftwork: Graftwork, job: str) -> list[dict[str, Any]]:
    done = graftwork.jobs.wait(job, timeout=HANGS)
    return [{name: line[name] for name in line if name != "job"} for line in done["metrics"]["trials"]]


def files(graftwork: Graftwork, name: str) -> list[str]:
    kept = graftwork.models.get(name)["files"]
    return [file["sha256"] for file in kept if file["name"] in ("backbone.safetensors", "heads.safetensors")]


@pytest.mark.slow
def test_a_sweep_whose_worker_tree_is_killed_again_and_again_ends_as_if_nothing_had_been(
    running: Service, graftwork: Graftwork, digits: Digits
) -> None:
    pixels, labels = digits
    dataset = str(graftwork.datasets.create({"x": pixels[:600], "y": labels[:600]}, name="labelled")["id"])
    wanted = result(graftwork, start(graftwork, dataset, "calm"))
    assert [line["status"] for line in wanted] == ["succeeded"] * 3
    job = start(graftwork, dataset, "stormy")

    def trials() -> list[dict[str, Any]]:
        return list(graftwork.jobs.list(sweep=job, order="asc"))

    for count in (1, 2):
        wait_until(lambda: len(trials()) >= count, "the next trial is there")  # noqa: B023
        wait_until(lambda: trials()[-1]["status"] != "queued", "it is worked on")
        running.kill_worker()
    assert result(graftwork, job) == wanted
    assert files(graftwork, "stormy") == files(graftwork, "calm")
    assert len(trials()) == 3
    assert max(trial["attempt"] for trial in trials()) >= 2
    assert "-trial-" not in json.dumps([model["name"] for model in graftwork.models.list()])
