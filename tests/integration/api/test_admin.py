"""What administrators see and do of all projects: jobs without what they are about, and limits."""

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.db.session import Database
from app.db.tables import JobRow, ProjectRow, WorkerRow
from app.jobs import lease as leases
from app.jobs import workers
from app.projects import repository
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.rows import queue_jobs
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

CSV = b"secret_column,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))


@pytest.fixture
def tenant(app: FastAPI, make_key: MakeKey) -> Http:
    return Http(app, make_key(project="tenant", scopes=("read", "write", "predict")))


@pytest.fixture
def job(tenant: Http, settings: Settings) -> str:
    """A queued job of the other project, whose data and name are nobody else's business."""
    dataset = tenant.post("/v1/datasets", files={"file": ("secret.csv", CSV)}, data={"name": "secret"}).json()["id"]
    run_jobs(settings)
    return submit(tenant, dataset)


def submit(client: Http, dataset: str, **fields: Any) -> str:
    body = {"kind": "pretraining", "dataset": dataset, "name": "secret-model", "training": {"steps": 5}, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_administrators_see_every_job_and_nothing_that_it_is_about(client: Http, tenant: Http, job: str) -> None:
    listed = client.get("/v1/admin/jobs", params={"project": "tenant", "status": "queued"})
    (seen,) = listed.json()["data"]
    assert (seen["id"], seen["kind"], seen["project"], seen["status"]) == (job, "pretraining", "tenant", "queued")
    assert client.get(f"/v1/admin/jobs/{job}").json() == seen
    assert "secret" not in client.get("/v1/admin/jobs").text
    assert len(client.get("/v1/admin/jobs").json()["data"]) == 2
    for kind, ids in (("pretraining", [job]), ("sweep", [])):
        of_kind = client.get("/v1/admin/jobs", params={"project": "tenant", "kind": kind}).json()["data"]
        assert [entry["id"] for entry in of_kind] == ids
    check_problem(client.get("/v1/admin/jobs", params={"kind": "nothing"}), 422)
    check_problem(client.get("/v1/jobs", params={"project": "tenant"}), 422)
    check_problem(client.get(f"/v1/jobs/{job}"), 404)
    check_problem(client.get("/v1/admin/jobs/job_x"), 404, "job_not_found")
    check_problem(client.get("/v1/admin/jobs", params={"project": "nobody"}), 404, "project_not_found")
    for path in ("/v1/admin/jobs", f"/v1/admin/jobs/{job}", "/v1/admin/projects"):
        check_problem(tenant.get(path), 403, "missing_scope")


def test_administrators_pause_resume_and_cancel_any_job(client: Http, tenant: Http, job: str) -> None:
    for action, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        check_problem(tenant.post(f"/v1/admin/jobs/{job}/{action}"), 403, "missing_scope")
        answer = client.post(f"/v1/admin/jobs/{job}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (202, status), answer.text
        assert tenant.get(f"/v1/jobs/{job}").json()["status"] == status
    check_problem(client.post(f"/v1/admin/jobs/{job}/resume"), 409, "job_has_ended")


def test_an_urgent_job_comes_before_the_turns_of_all_projects(
    client: Http, tenant: Http, job: str, database: Database
) -> None:
    dataset = tenant.get(f"/v1/jobs/{job}").json()["dataset"]
    last = submit(tenant, dataset, priority=-100)
    check_problem(tenant.request("PATCH", f"/v1/admin/jobs/{last}", json={"urgency": 1}), 403, "missing_scope")
    check_problem(client.request("PATCH", f"/v1/admin/jobs/{last}", json={"urgency": 101}), 422)
    answer = client.request("PATCH", f"/v1/admin/jobs/{last}", json={"urgency": 1}).json()
    assert (answer["urgency"], answer["priority"], answer["queue_position"]) == (1, -100, 0)
    with database.writing() as session:
        lease = leases.claim(session, "w1", 60)
    assert lease is not None
    assert lease.job_id == last


def test_a_project_has_limits_of_its_own(client: Http, tenant: Http, job: str, database: Database) -> None:
    change = {"project": "tenant", "max_running_jobs": 1, "quota_bytes": 1 << 40}
    check_problem(tenant.request("PATCH", "/v1/admin/projects", json=change), 403, "missing_scope")
    check_problem(client.request("PATCH", "/v1/admin/projects", json={"project": "tenant"}), 422)
    check_problem(client.request("PATCH", "/v1/admin/projects", json={**change, "project": "x"}), 404)
    project = client.request("PATCH", "/v1/admin/projects", json=change).json()
    assert (project["name"], project["own_limits"]) == ("tenant", ["max_running_jobs", "quota_bytes"])
    limits = {"max_running_jobs": 1, "job_seconds": 0.0, "quota_bytes": 1 << 40, "quota_rows": 0}
    assert (project["limits"], project["running_jobs"], project["queued_jobs"]) == (limits, 0, 1)
    assert project in client.get("/v1/admin/projects").json()["data"]
    waiting = submit(tenant, tenant.get(f"/v1/jobs/{job}").json()["dataset"])
    with database.writing() as session:
        workers.sign_in(session, "w1", {"cpu": 1})
        assert session.scalar(select(WorkerRow.id)) == "w1"
        assert leases.claim(session, "w1", 60) is not None
        assert leases.claim(session, "w1", 60) is None
    sentence = "A job of its project to end: it runs 1, as many as it may at the same time."
    assert tenant.get(f"/v1/jobs/{waiting}").json()["waiting_for"] == sentence
    undone = client.request("PATCH", "/v1/admin/projects", json={"project": project["id"], "max_running_jobs": None})
    assert (undone.json()["own_limits"], undone.json()["running_jobs"]) == (["quota_bytes"], 1)
    assert tenant.get(f"/v1/jobs/{waiting}").json()["waiting_for"] is None
    with database.writing() as session:
        assert leases.claim(session, "w1", 60) is not None
        assert session.scalar(select(JobRow.status).where(JobRow.id == waiting)) == "preparing"


def test_of_a_long_queue_only_so_many_are_counted(
    client: Http, tenant: Http, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tenant.get(f"/v1/jobs/{job}").json()["dataset"]
    submit(tenant, dataset)
    counted = []
    for most in (2, 1):
        monkeypatch.setattr(repository, "MAX_COUNTED", most)
        listed = client.get("/v1/admin/projects").json()["data"]
        counted.append({project["name"]: project["queued_jobs"] for project in listed}["tenant"])
    assert counted == [2, 1]


def test_each_project_counts_its_own_jobs(client: Http, tenant: Http, job: str, database: Database) -> None:
    for _ in range(2):
        submit(tenant, tenant.get(f"/v1/jobs/{job}").json()["dataset"])
    queue_jobs(database, "other", 4)
    with database.writing() as session:
        assert leases.claim(session, "w1", 60) is not None
        owner = session.scalars(select(ProjectRow.name).join(JobRow).where(JobRow.owner == "w1")).one()
    listed = client.get("/v1/admin/projects").json()["data"]
    counts = {project["name"]: [project["running_jobs"], project["queued_jobs"]] for project in listed}
    expected = {"tenant": [0, 3], "other": [0, 4]}
    expected[owner] = [1, expected[owner][1] - 1]
    assert {name: counts.pop(name) for name in expected} == expected
    assert set(map(tuple, counts.values())) == {(0, 0)}
