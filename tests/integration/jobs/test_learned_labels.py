"""Labels that a model's ancestors have learned: whoever is made from them is not judged by the same labels."""

from typing import Any

import pytest

from app.settings import Settings
from tests.integration.jobs.test_job_life import done, upload
from tests.support.http import Http

LABEL = [{"kind": "classifier", "target": "label"}]
MLP = {"kind": "mlp", "hidden": [8]}
PROBE = {"kind": "linear_probe", "layer": "last"}
REPORT = {"rounds": 2, "folds": 2, "measured_on": "folds", "budget_seconds": 3000}
pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def rows(step: int) -> str:
    """Four columns, and whether the first two are above 0 together."""
    numbers = [[((row * step * factor) % 97) / 97 - 0.5 for factor in (1, 3, 7, 11)] for row in range(1, 121)]
    lines = [",".join([*(f"{value:.4f}" for value in row), "no" if sum(row[:2]) < 0 else "yes"]) for row in numbers]
    return "\n".join(["a,b,c,d,label", *lines]) + "\n"


@pytest.fixture
def datasets(client: Http, settings: Settings) -> dict[str, str]:
    """Two uploads, of which each has labels of its own."""
    columns = '{"label": "target"}'
    return {name: upload(client, settings, rows(step), columns=columns) for name, step in (("own", 31), ("other", 57))}


def train(client: Http, settings: Settings, dataset: str, name: str, **fields: Any) -> None:
    body = {"kind": "fine_tuning", "dataset": dataset, "name": name, "heads": LABEL, "training": {"epochs": 1}}
    done(client, settings, "/v1/jobs", {**body, **fields})


@pytest.fixture
def family(client: Http, settings: Settings, datasets: dict[str, str]) -> None:
    """Root learned the labels of `own`; child and grandchild came from it on `other`. A probe moves no backbone."""
    train(client, settings, datasets["own"], "root", strategy={"kind": "full"}, backbone=MLP)
    train(client, settings, datasets["other"], "child", strategy={"kind": "full"}, model="root")
    train(client, settings, datasets["other"], "grandchild", strategy=PROBE, model="child")
    body = {"kind": "pretraining", "dataset": datasets["own"], "name": "unlabelled", "training": {"epochs": 1}}
    done(client, settings, "/v1/jobs", {**body, "backbone": MLP, "method": {"kind": "autoencoder"}})
    train(client, settings, datasets["own"], "probe", strategy=PROBE, model="unlabelled")


@pytest.mark.usefixtures("family")
def test_rows_whose_labels_an_ancestor_has_learned_are_not_held_out(
    client: Http, settings: Settings, datasets: dict[str, str]
) -> None:
    body = {"kind": "fine_tuning", "dataset": datasets["own"], "heads": LABEL, "strategy": PROBE}
    for model in ("root", "child", "grandchild"):
        refused = client.post("/v1/jobs", json={**body, "model": model, "transfer_report": REPORT})
        assert refused.status_code == 422, (model, refused.text)
        assert refused.json()["detail"].startswith("transfer_report.measured_on: root@1"), refused.text
    for model in ("unlabelled", "probe"):
        answer = client.post("/v1/jobs", json={**body, "model": model, "transfer_report": REPORT})
        assert answer.status_code == 202, (model, answer.text)


@pytest.mark.usefixtures("family")
def test_a_backbone_whose_ancestor_has_learned_the_labels_is_not_ranked(
    client: Http, settings: Settings, datasets: dict[str, str]
) -> None:
    body = {"dataset": datasets["own"], "target": "label", "rows": 50}
    job = done(client, settings, "/v1/recommendations", body)
    misfits = {misfit["name"]: misfit["reason"] for misfit in job["metrics"]["misfits"]}
    assert misfits.keys() == {"root", "child", "grandchild"}
    assert all(reason.startswith("root@1 has learned the labels") for reason in misfits.values())
    assert "unlabelled" in {row["name"] for row in job["metrics"]["ranking"]}
