"""What is deleted, what stays, and that a repeated request never deletes another thing."""

from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.db.session import Database
from app.db.tables import (
    AttemptRow,
    CheckpointRow,
    DatasetRow,
    EventRow,
    JobRow,
    MetricRow,
    ModelRow,
    TrialRow,
)
from app.dependencies import Services
from app.kit.ids import new_id
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))


def add_job(database: Database, project_id: str, **fields: Any) -> str:
    """A job of any status, with one row of everything that a job has."""
    job_id = new_id("job")
    defaults = {"kind": "fine_tuning", "status": "succeeded", "config": {}, "job_metadata": {}}
    with database.writing() as session:
        session.add(
            JobRow(id=job_id, project_id=project_id, created_at=1.0, queued_at=1.0, last_seq=1, **defaults | fields)
        )
        session.flush()
        session.add(EventRow(job_id=job_id, seq=1, created_at=1.0, level="info", type="x", message="x", data={}))
        session.add(MetricRow(job_id=job_id, step=1, epoch=0, created_at=1.0, values={}))
        session.add(AttemptRow(job_id=job_id, token=1, worker="w", started_at=1.0))
        session.add(
            CheckpointRow(
                id=new_id("ckpt"),
                job_id=job_id,
                token=1,
                step=1,
                epoch=0,
                key=f"jobs/{job_id}/t1/s1.safetensors",
                sha256="0" * 64,
                bytes=1,
                manifest={},
                created_at=1.0,
            )
        )
    return job_id


def add_trial(database: Database, project_id: str, sweep_id: str, number: int) -> str:
    job_id = add_job(database, project_id, sweep_id=sweep_id)
    with database.writing() as session:
        session.add(TrialRow(job_id=job_id, sweep_id=sweep_id, number=number, values={}, rungs=[]))
    return job_id


def counts(database: Database) -> list[int]:
    tables = (JobRow, EventRow, MetricRow, AttemptRow, CheckpointRow, TrialRow)
    with database.reading() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


# ---- models ---------------------------------------------------------------------------------------------------------


def test_a_name_alone_deletes_nothing_and_the_answer_says_what_would(
    client: Http, services: Services, project_id: str
) -> None:
    first, second = (add_model(services, project_id, "sizes") for _ in range(2))
    problem = check_problem(client.delete("/v1/models/sizes"), 409, "which_version")
    for way in ("sizes@1", "sizes@2", second.id):
        assert way in problem["detail"]
    assert client.delete("/v1/models/sizes@2").status_code == 204
    assert "sizes@2" not in check_problem(client.delete("/v1/models/sizes"), 409, "which_version")["detail"]
    check_problem(client.delete("/v1/models/sizes@2"), 404, "model_not_found")
    assert client.delete(f"/v1/models/{first.id}").status_code == 204
    check_problem(client.delete("/v1/models/sizes"), 404, "model_not_found")


def test_an_alias_deletes_its_version_and_ends_with_it(client: Http, services: Services, project_id: str) -> None:
    first, second = (add_model(services, project_id, "sizes") for _ in range(2))
    client.put("/v1/models/sizes/aliases/best", json={"model": first.id})
    assert client.delete("/v1/models/sizes@best").status_code == 204
    check_problem(client.delete("/v1/models/sizes@best"), 404, "model_not_found")
    assert client.get("/v1/models/sizes").json()["id"] == second.id


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_an_ended_job_goes_with_all_that_is_its_own_and_its_model_stays(
    client: Http, services: Services, database: Database, project_id: str
) -> None:
    other = add_job(database, project_id)
    job_id = add_job(database, project_id)
    model = add_model(services, project_id, "sizes", job_id=job_id)
    child = add_model(services, project_id, "child", parent_id=model.id)
    assert client.get("/v1/models/sizes").json()["links"]["job"] == f"/v1/jobs/{job_id}"
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert counts(database) == [1, 1, 1, 1, 1, 0]
    assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == [other]
    for path in ("", "/events", "/metrics", "/checkpoints", "/attempts", "/curves"):
        check_problem(client.get(f"/v1/jobs/{job_id}{path}"), 404, "job_not_found")
    check_problem(client.delete(f"/v1/jobs/{job_id}"), 404, "job_not_found")
    for action in ("cancel", "pause", "resume", "retry"):
        check_problem(client.post(f"/v1/jobs/{job_id}/{action}"), 404, "job_not_found")
    kept = client.get("/v1/models/sizes").json()
    assert (kept["id"], kept["job"], kept["links"]["job"]) == (model.id, job_id, None)
    assert client.get("/v1/models/child/lineage").json()["ancestors"][0]["job"] == job_id
    assert client.post("/v1/models/sizes/predictions", json={"inputs": [[1, 2, 3]]}).status_code == 200
    assert child.parent_id == model.id


@pytest.mark.parametrize("status", ["queued", "preparing", "running", "finalizing", "pausing", "paused", "cancelling"])
def test_a_job_that_has_not_ended_stays(client: Http, database: Database, project_id: str, status: str) -> None:
    job_id = add_job(database, project_id, status=status)
    assert status in check_problem(client.delete(f"/v1/jobs/{job_id}"), 409, "job_not_ended")["detail"]
    assert counts(database) == [1, 1, 1, 1, 1, 0]


def test_a_job_that_another_goes_on_from_stays_until_that_has_ended(
    client: Http, database: Database, project_id: str
) -> None:
    first = add_job(database, project_id)
    second = add_job(database, project_id, extends_id=first, status="queued")
    assert second in check_problem(client.delete(f"/v1/jobs/{first}"), 409, "in_use")["detail"]
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == second).values(status="succeeded"))
    assert client.delete(f"/v1/jobs/{first}").status_code == 204
    assert client.delete(f"/v1/jobs/{second}").status_code == 204


def test_a_sweep_goes_with_its_trials_and_no_trial_alone(client: Http, database: Database, project_id: str) -> None:
    sweep = add_job(database, project_id, kind="sweep")
    trials = [add_trial(database, project_id, sweep, number) for number in range(2)]
    assert sweep in check_problem(client.delete(f"/v1/jobs/{trials[0]}"), 409, "trial_of_sweep")["detail"]
    assert client.delete(f"/v1/jobs/{sweep}").status_code == 204
    assert counts(database) == [0] * 6


def test_a_dataset_stays_without_the_job_that_prepared_it(client: Http, database: Database, settings: Settings) -> None:
    dataset = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "mine"}).json()
    run_jobs(settings)
    assert client.delete(f"/v1/jobs/{dataset['job']}").status_code == 204
    kept = client.get(f"/v1/datasets/{dataset['id']}").json()
    assert (kept["status"], kept["job"], kept["links"]["job"]) == ("ready", None, None)
    with database.reading() as session:
        assert session.scalars(select(DatasetRow.job_id)).all() == [None]
        assert session.scalars(select(ModelRow)).all() == []
