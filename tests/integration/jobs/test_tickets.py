"""A table with a column of texts, as its user sees it: uploaded, shown, learned from and asked."""

import json

import pytest

from app.settings import Settings
from tests.integration.jobs.test_job_life import job_of, upload
from tests.support.http import Http
from tests.support.work import run_jobs
from tests.unit.datasets.test_column_kinds import csv_of
from tests.unit.datasets.test_text_columns import tickets

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # no database reads texts


def test_tickets_are_learned_from_and_asked(client: Http, settings: Settings) -> None:
    dataset = upload(client, settings, csv_of(**tickets(120)), columns='{"team": "target"}')
    assert "Since" in json.dumps(client.get(f"/v1/datasets/{dataset}/rows").json())
    heads = [{"kind": "classifier", "target": "team"}]
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": heads, "strategy": {"kind": "linear_probe"}}
    job = client.post("/v1/jobs", json={**body, "name": "tickets"})
    assert job.status_code == 202, job.text
    run_jobs(settings)
    assert job_of(client, job.json()["id"])["status"] == "succeeded"
    text = "Since 2 days the invoice of the office does not work"
    inputs = [{"body": text, "product": "plus", "hours": 3}, [text, "plus", 3]]
    answer = client.post("/v1/models/tickets/predictions", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
