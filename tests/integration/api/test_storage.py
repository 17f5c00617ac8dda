"""What files take, and which of them go: over HTTP and in garbage collection, on both databases."""

import os
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.artifacts import ArtifactStore, blob_key, fetch_blob, put_blob, trash_key
from app.db.session import Database
from app.db.tables import DatasetRow, JobRow
from app.dependencies import Services
from app.settings import Settings
from app.storage.garbage_collection import Verdict, carry_out, plan
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))


class Collection:
    """Garbage collection, and time that passes by files growing older."""

    def __init__(self, database: Database, store: ArtifactStore, settings: Settings) -> None:
        self.parts = (database, store, settings)
        self.folder = settings.data_folder

    def plan(self) -> dict[str, Verdict]:
        return {one.name: one for one in plan(*self.parts)}

    def run(self) -> dict[str, str]:
        decisions = self.plan()
        carry_out(decisions.values(), *self.parts)
        return {name: one.action for name, one in decisions.items() if one.action != "keep"}

    def grow_older(self, seconds: float = 90_000) -> None:
        then = time.time() - seconds
        for name in ("artifacts", "cache", "tmp"):
            for path in (self.folder / name).rglob("*"):
                os.utime(path, (then, then))


@pytest.fixture
def collection(database: Database, artifacts: ArtifactStore, settings: Settings) -> Collection:
    return Collection(database, artifacts, settings)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


def upload(client: Http) -> str:
    answer = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "mine"})
    return str(answer.json()["id"])


def test_a_project_sees_what_is_its_own(
    client: Http, app: FastAPI, make_key: MakeKey, services: Services, settings: Settings, project_id: str, source: Path
) -> None:
    upload(client)
    run_jobs(settings)
    add_model(services, project_id, "sizes")
    put_blob(services.artifacts, source)
    told = client.get("/v1/storage").json()
    own = told["project"]
    assert own["datasets"]["count"] > 3
    assert own["datasets"]["bytes"] > len(CSV)
    assert own["models"]["count"] > 0
    assert own == told["service"]["named"]
    assert told["service"]["unreferenced"] == {"count": 1, "bytes": len(b"content")}
    assert 0 < told["service"]["free_bytes"] < told["service"]["total_bytes"]
    stranger = Http(app, make_key(project="another", scopes=("read",))).get("/v1/storage").json()
    assert stranger["service"] is None
    assert all(amount == {"count": 0, "bytes": 0} for amount in stranger["project"].values())


def test_a_service_that_holds_nothing_yet_says_so(client: Http) -> None:
    answer = client.get("/v1/storage")
    assert answer.status_code == 200
    assert answer.json()["service"]["unreferenced"] == {"count": 0, "bytes": 0}


def test_what_rows_name_stays_however_old(client: Http, settings: Settings, collection: Collection) -> None:
    upload(client)
    run_jobs(settings)
    collection.grow_older()
    assert collection.run() == {}
    assert all(one.reason.startswith("ds_") for one in collection.plan().values() if one.place == "store")


def test_what_is_deleted_goes_after_a_grace_by_way_of_the_trash(
    client: Http, settings: Settings, collection: Collection, database: Database
) -> None:
    dataset = upload(client)
    run_jobs(settings)
    client.delete(f"/v1/datasets/{dataset}")
    collection.grow_older()
    assert client.get("/v1/storage").json()["project"]["deleted"]["count"] > 3
    assert collection.run() == {}
    with database.writing() as session:
        session.execute(update(DatasetRow).values(deleted_at=time.time() - 90_000))
    assert set(collection.run().values()) == {"trash"}
    assert collection.run() == {}
    assert client.get("/v1/storage").json()["service"]["trash"]["count"] > 3
    collection.grow_older()
    assert set(collection.run().values()) == {"delete"}
    assert list(collection.parts[1].entries()) == []


def test_young_leftovers_stay(collection: Collection, artifacts: ArtifactStore, source: Path) -> None:
    key = blob_key(put_blob(artifacts, source).sha256)
    assert collection.run() == {}
    assert "no row names it, and it is too young" in collection.plan()[key].reason


def test_an_upload_that_comes_between_check_and_removal_loses_nothing(
    client: Http, settings: Settings, collection: Collection, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    """The same content was left over from a killed upload; it is judged to go, and a row names it before it does."""
    left = tmp_path / "left"
    left.write_bytes(CSV)
    blob = put_blob(artifacts, left)
    key = blob_key(blob.sha256)
    collection.grow_older()
    decisions = collection.plan()
    assert decisions[key].action == "trash"
    upload(client)
    carry_out(decisions.values(), *collection.parts)
    assert fetch_blob(artifacts, blob.sha256).read_bytes() == CSV

    artifacts.move(key, trash_key(key))  # as if the row had come a moment later still
    assert collection.run()[trash_key(key)] == "restore"
    artifacts.move(key, trash_key(key))
    assert run_jobs(settings) == 1
    assert client.get("/v1/datasets").json()["data"][0]["status"] == "ready"


def test_what_was_put_again_outlives_its_trash(
    client: Http, collection: Collection, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    left.write_bytes(CSV)
    blob = put_blob(artifacts, left)
    collection.grow_older()
    collection.run()
    upload(client)
    collection.grow_older()
    assert collection.run() == {trash_key(blob_key(blob.sha256)): "delete"}
    assert [entry.key for entry in artifacts.entries()] == [blob_key(blob.sha256)]
    assert fetch_blob(artifacts, blob.sha256).read_bytes() == CSV


def test_leftovers_of_the_data_folder_go_and_attempts_under_way_stay(
    client: Http, collection: Collection, settings: Settings, database: Database
) -> None:
    upload(client)
    with database.writing() as session:
        job = session.execute(update(JobRow).values(status="running", token=2).returning(JobRow.id)).scalar_one()
    data = settings.data_folder
    stay = [f"tmp/{job}-t2", f"tmp/{job}-t2-n1", "cache/features/kept.safetensors"]
    go = [
        f"tmp/{job}-t1",
        f"tmp/{job}-t1-n2",
        "tmp/upload_1",
        "artifacts/blobs/ab/.new_1",
        "cache/blobs/ab/old",
        "cache/features/.a.tmp",
    ]
    for name in (*stay, *go):
        path = data / name / "file" if "-t" in name else data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert collection.run() == {}
    collection.grow_older()
    assert collection.run() == dict.fromkeys(go, "delete")
    assert all((data / name).exists() for name in stay)
    assert not any((data / name).exists() for name in go)


def test_checkpoints_that_no_row_names_go_and_strange_keys_stay(
    collection: Collection, artifacts: ArtifactStore, source: Path
) -> None:
    for key in ("jobs/job_1/t1/s1.safetensors", "backups/monday"):
        artifacts.put(key, source)
    collection.grow_older()
    assert collection.run() == {"jobs/job_1/t1/s1.safetensors": "trash"}
    assert collection.plan()["backups/monday"].reason == "it is not of this service"
