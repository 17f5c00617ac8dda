"""What people and workers ask reads no whole table, however many rows there are."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event, update

from app.db.session import Database
from app.db.tables import DatasetRow, JobRow, ModelRow, ProjectRow
from app.jobs import lease as leases
from app.jobs import repository as jobs
from app.jobs import turns
from app.kit.ids import new_id
from app.models import repository as models
from app.projects.limits import ProjectLimits
from app.settings import Settings
from app.storage.quotas import quota_of
from app.storage.repository import deleted_files
from tests.support.http import Http
from tests.support.rows import own_project

# Tables that grow as long as a service lives.
GROWING = {"jobs", "attempts", "events", "metrics", "models", "aliases", "alias_changes", "datasets"}
GROWING |= {"webhook_deliveries", "checkpoints", "trials", "named_files", "labelled_rows", "upload_parts"}
LISTS = (
    "/metrics",
    "/v1/models",
    "/v1/models?kind=backbone",
    "/v1/models?name=m",
    "/v1/models/m/aliases",
    "/v1/models/m/lineage",
    "/v1/jobs",
    "/v1/jobs?status=failed",
    "/v1/jobs?status=queued",
    "/v1/jobs?kind=evaluation",
    "/v1/jobs?name=j",
    "/v1/jobs?dataset=d",
    "/v1/jobs?model=m",
    "/v1/jobs?order=asc",
    "/v1/jobs/{job}",
    "/v1/jobs/{job}/events",
    "/v1/jobs/{job}/attempts",
    "/v1/jobs/{job}/metrics",
    "/v1/datasets",
    "/v1/datasets?name=d",
    "/v1/admin/projects",
    "/v1/storage?service=false",
)


@pytest.fixture
def queued(database: Database) -> str:
    """A queued job on a dataset, from a model; its id."""
    job, dataset, model = new_id("job"), new_id("ds"), new_id("mdl")
    times = {"created_at": 1.0}
    with database.writing() as session:
        project = own_project(session)
        own = {"project_id": project.id}
        upload = {"filename": "d.csv", "options": {}, "source_sha256": "0" * 64, "source_bytes": 1}
        session.add(DatasetRow(id=dataset, name="d", status="ready", **own, **upload, **times))
        session.flush()
        fields = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, "queued_at": 1.0}
        session.add(JobRow(id=job, name="j", dataset_id=dataset, parent_model_id=model, **own, **fields, **times))
        manifest = {"modality": {"kind": "tabular"}, "backbone": {"kind": "mlp"}, "heads": [], "features": 1}
        made = {"manifest": manifest, "files": {}, "metrics": {}, "version": 1, "kind": "fine_tuned"}
        session.add(ModelRow(id=model, name="m", dataset_id=dataset, **own, **made, **times))
    return job


@contextmanager
def scans(engine: Engine) -> Iterator[list[str]]:
    """Gather the statements that read a growing table from end to end, by SQLite's plans of what is asked inside."""
    statements: dict[str, Any] = {}

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            statements.setdefault(statement, parameters)

    event.listen(engine, "before_cursor_execute", keep)
    found: list[str] = []
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", keep)
    with engine.connect() as connection:
        for statement, parameters in statements.items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps = [row[3].split() for row in plan]
            found += [f"{' '.join(step)}: {statement}" for step in steps if step[0] == "SCAN" and step[1] in GROWING]


@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize("path", LISTS)
def test_no_route_scans_a_table(path: str, client: Http, app: FastAPI, queued: str) -> None:
    with scans(app.state.services.database.engine) as found:
        answer = client.get(path.format(job=queued))
    assert answer.status_code == 200, answer.text
    assert found == []


@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize(
    "step",
    [
        lambda session: leases.claim(session, "w", 60),
        lambda session: leases.claim(session, "w", 60, lane="short"),
        lambda session: leases.claim(session, "w", 60, {"cuda": 2}),
        lambda session: leases.has_claimable(session, leases.ONE_EACH, "short"),
        lambda session: leases.sweep(session, 3),
        lambda session: leases.waiting(session, 5),
        leases.longest_waits,
        lambda session: jobs.has_unfinished(session, "proj", 10_000),
        models.revision,
        lambda session: deleted_files(session, 60, "proj", besides_kept=True),
    ],
)
@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_no_step_of_a_worker_scans_a_table(
    step: Callable[..., object], patience: float, settings: Settings, queued: str
) -> None:
    """Neither do those for which the job has waited for so long that it has precedence."""
    assert queued
    database = Database(settings.sql_url, ProjectLimits(patience_seconds=patience))
    with closing(database), scans(database.engine) as found, database.writing() as session:
        step(session)
    assert found == []


def test_places_in_the_queue_are_counted_up_to_a_maximum(
    database: Database, monkeypatch: pytest.MonkeyPatch, queued: str
) -> None:
    monkeypatch.setattr(turns, "MAX_POSITION", 3)
    with database.writing() as session:
        row = session.get_one(JobRow, queued)
        fields = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, "queued_at": 1.0}
        ids = [f"job_{number:032x}" for number in range(5)]
        session.add_all(JobRow(id=job, project_id=row.project_id, created_at=1.0, **fields) for job in ids)
    with database.reading() as session:
        places = [turns.queue_position(session, session.get_one(JobRow, job)) for job in (*ids, queued)]
    assert places == [0, 1, 2, 3, 3, 3]


@pytest.mark.one_database("sqlite")
def test_a_quota_scans_no_table(queued: str, database: Database) -> None:
    with database.writing() as session:
        row = session.get_one(JobRow, queued)
        session.execute(update(ProjectRow).values(quota_bytes=1 << 40, quota_rows=1 << 40))
        spec = {"modality": {"kind": "tabular"}, "rows": {"train": 8}}
        session.execute(update(DatasetRow).where(DatasetRow.id == row.dataset_id).values(spec=spec, files={}))
    with scans(database.engine) as found, database.reading() as session:
        quota = quota_of(session, row.project_id)
    assert (quota.left_rows, quota.left_bytes) == ((1 << 40) - 8, (1 << 40) - 1)
    assert found == []


def test_a_project_is_full_at_its_maximum(database: Database, queued: str) -> None:
    with database.reading() as session:
        project = session.get_one(JobRow, queued).project_id
        assert [jobs.has_unfinished(session, project, count) for count in (1, 2)] == [True, False]
