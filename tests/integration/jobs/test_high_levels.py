"""Series upon a level of 1.7e9 are learned and answered by their waves of +-10, from upload to prediction."""

import io

import numpy as np
import pytest

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

LEVEL = 1.7e9
ROWS = np.arange(120)
PHASES = np.random.default_rng(0).uniform(0, 6, (120, 1))
WAVES = 10 * np.sin(np.arange(40) / 3 * (1 + ROWS[:, None] % 2) + PHASES)


def test_waves_upon_a_high_level_are_learned(client: Http, settings: Settings) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=LEVEL + WAVES, y=ROWS % 2)
    form = {"name": "waves", "modality": "series"}
    dataset = client.post("/v1/datasets", files={"file": ("a.npz", buffer.getvalue())}, data=form).json()["id"]
    run_jobs(settings)
    stored = client.get(f"/v1/datasets/{dataset}/rows?limit=1").json()["data"][0]
    assert np.ravel(stored["input"]).tolist() == (LEVEL + WAVES)[stored["row"]].tolist()
    body = {
        "kind": "fine_tuning",
        "dataset": dataset,
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": {"kind": "convnet", "channels": [8, 16]},
        "training": {"epochs": 12, "batch_size": 16, "optimizer": {"kind": "adamw", "lr": 0.02}},
    }
    job = client.post("/v1/jobs", json={**body, "name": "waves"}).json()["id"]
    run_jobs(settings)
    assert client.get(f"/v1/jobs/{job}").json()["metrics"]["heads"]["label"]["accuracy"] == 1
    asked = [(LEVEL + wave).tolist() for wave in WAVES[:10]]
    answers = client.post("/v1/models/waves/predictions", json={"inputs": asked}).json()
    assert [answer["label"]["class"] for answer in answers["predictions"]] == [str(row % 2) for row in range(10)]
    assert answers["warnings"] == []
