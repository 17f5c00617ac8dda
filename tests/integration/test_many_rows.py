"""What people and workers ask reads no whole table, however many rows there are."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, insert, inspect, select, update
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import DatasetRow, EventRow, JobRow, ModelRow, ProjectRow
from app.jobs import lease as leases
from app.jobs import queue_positions
from app.jobs import repository as jobs
from app.kit.ids import new_id
from app.models import repository as models
from app.projects.limits import ProjectLimits
from app.settings import Settings
from app.storage.quotas import quota_of
from app.storage.repository import deleted_files, references
from tests.support.http import Http
from tests.support.plans import plans, statements
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
    found: list[str] = []
    with plans(engine) as asked:
        yield found
    for statement, lines in asked.items():
        steps = [line.split() for line in lines]
        found += [f"{' '.join(step)}: {statement}" for step in steps if step[0] == "SCAN" and step[1] in GROWING]


@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize("path", LISTS)
def test_no_route_scans_a_table(path: str, client: Http, app: FastAPI, queued: str) -> None:
    with scans(app.state.services.database.engine) as found:
        answer = client.get(path.format(job=queued))
    assert answer.status_code == 200, answer.text
    assert found == []


PAGES = ("/v1/models", "/v1/jobs", "/v1/jobs?view=full", "/v1/jobs?status=failed", "/v1/datasets", "/v1/events")
PAGES += ("/v1/admin/jobs", "/v1/admin/jobs?status=queued", "/v1/admin/projects")


def _fill(session: Session, queued: str, count: int) -> None:
    """Add rows like those of the queued job: queued and failed jobs with an event each, models, datasets, projects."""
    job = session.get_one(JobRow, queued)
    model = session.get_one(ModelRow, job.parent_model_id)
    dataset = session.get_one(DatasetRow, job.dataset_id)
    for number in range(count):
        session.add(ProjectRow(id=f"proj_{number}", name=f"p{number}", created_at=0.0))
        copy(session, dataset, id=new_id("ds"), name=f"d{number}")
        copy(session, job, id=new_id("job"), priority=number % 3)
        failed = copy(session, job, id=new_id("job"), status="failed")
        copy(session, model, id=new_id("mdl"), name=f"m{number}", job_id=failed)
        session.flush()
        session.add(EventRow(job_id=failed, seq=1, type="t", message="m", data={}, level="info", created_at=number))


def copy(session: Session, row: JobRow | ModelRow | DatasetRow, **changes: Any) -> str:
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    session.add(type(row)(**values | changes))
    return str(changes["id"])


@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_many_takes_as_many_statements_as_a_page_of_few(
    path: str, client: Http, app: FastAPI, database: Database, queued: str
) -> None:
    with database.writing() as session:
        _fill(session, queued, 12)
    counts = []
    for limit in (1, 3, 12):  # the first request of a key asks for it, too
        with statements(app.state.services.database.engine) as executed:
            answer = client.get(path, params={"limit": limit})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) == limit
        counts.append(len(executed))
    assert counts[1] == counts[2], counts


def test_a_page_names_the_outputs_of_each_job_that_still_are(client: Http, database: Database, queued: str) -> None:
    with database.writing() as session:
        _fill(session, queued, 3)
        session.flush()
        gone, *kept = session.scalars(select(ModelRow).where(ModelRow.job_id.is_not(None)))
        gone.deleted_at = 1.0
        expected = {str(gone.job_id): [], queued: []} | {str(model.job_id): [{"model": model.id}] for model in kept}
    listed = {job["id"]: job["outputs"] for job in client.get("/v1/jobs?view=full").json()["data"]}
    assert expected.items() <= listed.items()


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
    monkeypatch.setattr(queue_positions, "MAX_POSITION", 3)
    with database.writing() as session:
        row = session.get_one(JobRow, queued)
        fields = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, "queued_at": 1.0}
        ids = [f"job_{number:032x}" for number in range(5)]
        session.add_all(JobRow(id=job, project_id=row.project_id, created_at=1.0, **fields) for job in ids)
    with database.reading() as session:
        rows = [session.get_one(JobRow, job) for job in (*ids, queued)]
        places = queue_positions.queue_positions(session, rows)
    assert places == dict(zip((*ids, queued), (0, 1, 2, 3, 3, 3), strict=True))


def test_what_rows_name_is_read_in_blocks(database: Database, queued: str) -> None:
    """Garbage collection and the storage of the service read every row: not all of them at once."""
    with database.writing() as session:
        model = session.get_one(ModelRow, session.get_one(JobRow, queued).parent_model_id)
        model.files = {f"{number:050}.bin": {"sha256": "0" * 64, "bytes": 1} for number in range(4)}
        values = {column.key: getattr(model, column.key) for column in inspect(ModelRow).column_attrs}
        ids = [new_id("mdl") for _ in range(6_000)]
        session.execute(insert(ModelRow), [values | {"id": one, "name": one} for one in ids])
    with database.reading() as session:
        tracemalloc.start()
        count = sum(1 for reference in references(session, 60) if reference.kind == "models")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 4 * 6_001
    assert most < 9e6, "13 to 17 MB are read at once"


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
