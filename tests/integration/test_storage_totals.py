"""The totals that triggers keep are what the rows add up to, after each kind of change, by whatever process.

The fixture `database` compares both after every test of this folder, so that uploads, preparation, training, sweeps,
batch predictions, deletion and garbage collection are compared where they are tested. Here are the changes themselves.
"""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from sqlalchemy import delete, text, update
from sqlalchemy.orm import Session

from app.db.migrate import config, migrate
from app.db.session import Database
from app.db.tables import (
    CheckpointRow,
    DatasetRow,
    JobRow,
    LabelledRow,
    ModelRow,
    NamedFileRow,
    ProjectRow,
    TrialRow,
    UploadPartRow,
    UploadRow,
)
from app.storage.repository import Total, totals
from tests.support.rows import own_project
from tests.support.storage_totals import check_totals

NOW = {"created_at": 1.0}


def files(*contents: int) -> dict[str, Any]:
    """Files of these contents; each is as large as its number."""
    return {f"{at}.bin": {"sha256": f"{number:064x}", "bytes": number} for at, number in enumerate(contents)}


def dataset(project: str, name: str, source: int, **columns: Any) -> DatasetRow:
    upload = {"filename": "d.csv", "options": {}, "source_sha256": f"{source:064x}", "source_bytes": source}
    return DatasetRow(id=f"ds_{name}", project_id=project, name=name, status="ready", **upload, **NOW, **columns)


def model(project: str, name: str, *contents: int, **columns: Any) -> ModelRow:
    made = {"manifest": {}, "metrics": {}, "version": 1, "kind": "fine_tuned", "files": files(*contents)}
    return ModelRow(id=f"mdl_{name}", project_id=project, name=name, **made, **NOW, **columns)


def job(project: str, name: str, **columns: Any) -> JobRow:
    fields = {"kind": "pretraining", "status": "queued", "config": {}, "job_metadata": {}, "queued_at": 1.0}
    return JobRow(id=f"job_{name}", project_id=project, **fields, **NOW, **columns)


def checkpoint(name: str, job_id: str, size: int) -> CheckpointRow:
    place = {"key": f"jobs/{job_id}/t1/{name}.safetensors", "sha256": "0" * 64, "bytes": size}
    return CheckpointRow(id=f"ckpt_{name}", job_id=job_id, token=1, step=1, epoch=1, manifest={}, **place, **NOW)


@pytest.fixture
def project(database: Database) -> str:
    """A project with something of each kind, of which some contents are the same."""
    with database.writing() as session:
        own = own_project(session).id
        session.add(dataset(own, "plain", 100))
        session.add(dataset(own, "prepared", 101, files=files(10, 11), spec={"rows": {"train": 8, "test": 2}}))
        session.add(dataset(own, "failed", 100, spec={"rows": None}))
        session.add_all([job(own, "a", files=files(30, 31)), job(own, "sweep"), job(own, "trial")])
        session.flush()
        session.add_all([model(own, "one", 20, 21, 10), model(own, "two", 20, 22), model(own, "twice", 25, 25)])
        session.add_all([checkpoint("1", "job_a", 40), checkpoint("2", "job_a", 41)])
        session.add(TrialRow(job_id="job_trial", sweep_id="job_sweep", number=0, values={}, rungs=[]))
        session.add(UploadRow(id="upl", project_id=own, filename="f", status="open", changed_at=1.0, **NOW))
        session.flush()
        session.add_all(
            UploadPartRow(upload_id="upl", number=number, sha256=f"{number:064x}", bytes=number) for number in (50, 51)
        )
        label: dict[str, Any] = {"annotation": "1", "is_learned": False, "updated_at": 1.0}
        for task in ("1", "2"):
            content = {"input": {"text": "ein Maß"}, "label": task}
            session.add(LabelledRow(project_id=own, name="m", source="s", task=task, content=content, **label))
    return own


def change_label(session: Session, _: str) -> None:
    row = session.query(LabelledRow).filter_by(task="1").one()
    row.content = {"input": {"text": "x" * 100}, "label": "1"}


CHANGES: dict[str, Callable[[Session, str], object]] = {
    "nothing": lambda _session, _project: None,
    "a dataset is prepared": lambda session, _: session.execute(
        update(DatasetRow).where(DatasetRow.name == "plain").values(files=files(10, 12), spec={"rows": {"train": 5}})
    ),
    "a dataset is deleted": lambda session, _: session.execute(
        update(DatasetRow).where(DatasetRow.name == "prepared").values(deleted_at=4e9)
    ),
    "a dataset was deleted long ago": lambda session, _: session.execute(update(DatasetRow).values(deleted_at=1.0)),
    "a dataset comes back": lambda session, _: [
        session.execute(update(DatasetRow).values(deleted_at=at)) for at in (4e9, None)
    ],
    "a dataset's row goes": lambda session, _: session.execute(delete(DatasetRow).where(DatasetRow.name == "failed")),
    "a model that shares files is deleted": lambda session, _: session.execute(
        update(ModelRow).where(ModelRow.name == "one").values(deleted_at=4e9)
    ),
    "all models are deleted": lambda session, _: session.execute(update(ModelRow).values(deleted_at=4e9)),
    "models' rows go": lambda session, _: session.execute(delete(ModelRow)),
    "a model is added": lambda session, own: session.add(model(own, "new", 20, 21, 60)),
    "a model names nothing": lambda session, own: session.add(model(own, "empty")),
    "another project adds the same content": lambda session, _: [
        session.add(ProjectRow(id="proj_other", name="other", **NOW)),
        session.flush(),
        session.add(model("proj_other", "theirs", 20, 21)),
    ],
    "a job ends with files": lambda session, _: session.execute(
        update(JobRow).where(JobRow.id == "job_sweep").values(files=files(30, 32), status="succeeded")
    ),
    "a job's files are replaced": lambda session, _: session.execute(
        update(JobRow).where(JobRow.id == "job_a").values(files=files(31, 33))
    ),
    "a job's files go": lambda session, _: session.execute(update(JobRow).values(files=None)),
    "a trial has a candidate": lambda session, _: session.execute(
        update(TrialRow).values(candidate={"files": files(30, 70, 71), "metrics": {}})
    ),
    "a candidate is forgotten": lambda session, _: [
        session.execute(update(TrialRow).values(candidate=value)) for value in ({"files": files(70)}, None)
    ],
    "a checkpoint is saved, and one goes": lambda session, _: [
        session.add(checkpoint("3", "job_a", 42)),
        session.flush(),
        session.execute(delete(CheckpointRow).where(CheckpointRow.id == "ckpt_1")),
    ],
    "a job goes with all that is its own": lambda session, _: [
        session.execute(delete(CheckpointRow)),
        session.execute(delete(TrialRow)),
        session.execute(delete(JobRow)),
    ],
    "a part is replaced": lambda session, _: session.execute(
        update(UploadPartRow).where(UploadPartRow.number == 50).values(sha256=f"{52:064x}", bytes=52)
    ),
    "an upload is complete": lambda session, _: [
        session.execute(delete(UploadPartRow)),
        session.execute(update(UploadRow).values(status="complete", sha256=f"{100:064x}", bytes=100)),
    ],
    "an upload goes": lambda session, _: [session.execute(delete(UploadPartRow)), session.execute(delete(UploadRow))],
    "a label changes": change_label,
    "labels go": lambda session, _: session.execute(delete(LabelledRow)),
    "everything goes": lambda session, _: [
        session.execute(delete(row))
        for row in (UploadPartRow, UploadRow, TrialRow, CheckpointRow, ModelRow, JobRow, DatasetRow, LabelledRow)
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_totals_are_what_the_rows_add_up_to(database: Database, project: str, change: str) -> None:
    with database.writing() as session:
        CHANGES[change](session, project)
    check_totals(database)
    with database.reading() as session:
        if change == "everything goes":
            assert set(totals(session, project).values()) <= {Total(0, 0)}
            assert session.query(NamedFileRow).count() == 0
        else:
            assert totals(session, project)["kept"].count > 5 or "go" in change


def test_what_is_rolled_back_counts_nothing(database: Database, project: str) -> None:
    with database.writing() as session:
        session.add(model(project, "never", 90, 91))
        session.flush()
        session.rollback()
    check_totals(database)


def test_statements_of_an_earlier_release_count(database: Database, project: str) -> None:
    """The columns of its tables are all that it knows; the database counts."""
    statement = """
        INSERT INTO models (id, project_id, name, version, kind, manifest, files, metrics, created_at)
        VALUES ('mdl_old', :own, 'old', 1, 'backbone', '{}', :files, '{}', 1)
    """
    with database.writing() as session:
        session.execute(
            text(statement),
            {"own": project, "files": json.dumps(files(20, 95))},
        )
    check_totals(database)
    with database.reading() as session:
        assert totals(session, project)["models"] == Total(6, 20 + 21 + 10 + 22 + 25 + 95)


def test_what_an_earlier_release_has_left_is_counted_by_the_migration(database: Database, project: str) -> None:
    with database.engine.begin() as connection:
        command.downgrade(config(connection), "0020")
    with database.writing() as session:
        session.add(model(project, "meanwhile", 20, 96))
    migrate(database)
    check_totals(database)
    with database.writing() as session:
        session.execute(delete(ModelRow))


def test_transactions_at_once_count_each_content_once(database: Database, project: str) -> None:
    """Four threads add models that share a content, and delete them again, while others do the same."""
    barrier = threading.Barrier(4)
    failures: list[Exception] = []

    def work(thread: int) -> None:
        try:
            barrier.wait()
            for turn in range(8):
                name = f"{thread}-{turn}"
                database.transact(lambda session, name=name: session.add(model(project, name, 20, 500, 501 + thread)))
                if turn % 2:
                    gone = update(ModelRow).where(ModelRow.name == name).values(deleted_at=4e9)
                    database.transact(lambda session, gone=gone: session.execute(gone))
        except Exception as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_totals(database)
