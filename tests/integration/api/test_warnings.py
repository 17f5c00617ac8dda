"""Warnings of a dataset are part of its answer, of its preparation, of the jobs on it and of the models they make."""

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

LOPSIDED = "x,label\n" + "".join(f"{row % 7},{'yes' if row % 12 == 0 else 'no'}\n" for row in range(96))
JOB = {"kind": "fine_tuning", "heads": [{"kind": "classifier", "target": "label"}], "training": {"epochs": 1}}


def test_a_warning_follows_the_data(client: Http, settings: Settings) -> None:
    answer = client.post("/v1/datasets", files={"file": ("a.csv", LOPSIDED)}, data={"name": "rows"}).json()
    assert (answer["warnings"], answer["decisions"]) == ([], [])
    run_jobs(settings)
    dataset = client.get(f"/v1/datasets/{answer['id']}").json()
    (warning,) = dataset["warnings"]
    assert (warning["code"], warning["count"], warning["rows"]) == ("imbalanced", 88, [])
    assert warning["message"]
    assert warning["remedy"]
    assert {"field", "value", "reason", "option"} == set(dataset["decisions"][0])
    assert client.get(f"/v1/datasets/{answer['id']}/report").json()["warnings"] == [warning]
    preparation = client.get(f"/v1/jobs/{dataset['job']}").json()
    assert preparation["warnings"] == [warning]
    events = client.get(f"/v1/jobs/{dataset['job']}/events").json()["data"]
    (event,) = (event for event in events if event["type"] == "warning.imbalanced")
    assert (event["level"], event["message"], event["data"]) == ("warning", warning["message"], warning)

    job = client.post("/v1/jobs", json={**JOB, "dataset": dataset["id"]}).json()
    assert job["warnings"] == [warning]
    run_jobs(settings)
    job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["status"], job["warnings"]) == ("succeeded", [warning])
    model = client.get(f"/v1/models/{job['outputs'][0]['model']}").json()
    assert model["warnings"] == [warning]
    predictions = client.post(f"/v1/models/{model['id']}/predictions", json={"inputs": [{"x": 3}]}).json()
    assert predictions["warnings"] == []
    assert 'graftwork_warnings_total{code="imbalanced"} 2.0' in client.get("/metrics").text.splitlines()
