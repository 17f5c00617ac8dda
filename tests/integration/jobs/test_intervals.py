"""A regression without validation rows, as its user sees it: intervals hold what they say."""

import numpy as np
import pytest

from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of, upload
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # no database measures anything


def test_a_job_without_validation_rows_leaves_train_rows_out(client: Http, settings: Settings) -> None:
    random = np.random.default_rng(0)
    rows = [(x, 3 * x + noise) for x, noise in random.normal(size=(160, 2))]
    lines = [f"{x:.4f},{y:.4f}" for x, y in rows]
    splits = '{"train": 0.5, "validation": 0, "test": 0.5}'
    dataset = upload(client, settings, "x,target\n" + "\n".join(lines) + "\n", splits=splits)
    body = {
        "kind": "fine_tuning",
        "dataset": dataset,
        "heads": [{"kind": "regressor", "target": "target"}],
        "strategy": {"kind": "full"},
        "training": {"epochs": 30},
    }
    job = client.post("/v1/jobs", json=body)
    assert job.status_code == 202, job.text
    run_jobs(settings)
    (note,) = [event for event in events_of(client, job.json()["id"]) if event["type"] == "calibration.cross_fitted"]
    assert note["data"] == {"rows": 80, "folds": 5}
    metrics = job_of(client, job.json()["id"])["metrics"]["heads"]["target"]
    assert 0.8 < metrics["coverage"] < 0.98
    assert metrics["interval_width"] < 6, "4.8 would be the noise's own; by the target's deviation it would be 10"
