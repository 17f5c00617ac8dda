"""How long checkpoints are kept, and garbage collection that runs by itself; one process at a time."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from app.artifacts import ArtifactStore, trash_key
from app.db.session import Database
from app.db.tables import CheckpointRow, DatasetRow, HousekeepingRow, JobRow, ModelRow
from app.dependencies import Services
from app.settings import Settings
from app.storage.collector import Collector
from app.storage.garbage_collection import carry_out, plan
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.servers import wait_until

from .test_deleting import add_job

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
DAY = 86_400
LONG_AGO = 1.0


def add_dataset(database: Database, project_id: str, **fields: Any) -> str:
    row = {"name": "rows", "status": "ready", "filename": "a", "options": {}, "source_sha256": "0" * 64}
    with database.writing() as session:
        session.add(DatasetRow(id="ds_1", project_id=project_id, source_bytes=1, created_at=1.0, **{**row, **fields}))
    return "ds_1"


def kept(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(CheckpointRow.job_id)))


def collect(database: Database, store: ArtifactStore, settings: Settings) -> dict[str, str]:
    verdicts = plan(database, store, settings)
    carry_out(verdicts, database, store, settings)
    return {verdict.name: verdict.action for verdict in verdicts}


def store_checkpoint(store: ArtifactStore, settings: Settings, job: str) -> str:
    key = f"jobs/{job}/t1/s1.safetensors"
    source = settings.data_folder / "source"
    source.write_bytes(b"state")
    store.put(key, source)
    old = time.time() - 2 * DAY
    os.utime(settings.data_folder / "artifacts" / key, (old, old))
    return key


def removal(client: Http, job: str) -> list[str]:
    events = client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    return [event["message"] for event in events if event["type"] == "checkpoint.removed"]


Prepare = Callable[[Database, Services, str], dict[str, Any]]


def old(*_: Any) -> dict[str, Any]:
    return {"finished_at": time.time() - 31 * DAY}


def without_dataset(database: Database, _: Services, project_id: str) -> dict[str, Any]:
    return {"dataset_id": add_dataset(database, project_id, deleted_at=LONG_AGO)}


def without_parent(_: Database, services: Services, project_id: str) -> dict[str, Any]:
    return {"parent_model_id": deleted(services, add_model(services, project_id, "parent").id)}


def trial_of_an_ended_sweep(database: Database, _: Services, project_id: str) -> dict[str, Any]:
    return {"sweep_id": add_job(database, project_id, kind="sweep", status="succeeded")}


def deleted(services: Services, model: str) -> str:
    with services.database.writing() as session:
        session.execute(update(ModelRow).where(ModelRow.id == model).values(deleted_at=LONG_AGO))
    return model


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (old, "more than 30 days ago"),
        (without_dataset, "its dataset has been deleted"),
        (without_parent, "starts from has been deleted"),
        (trial_of_an_ended_sweep, "its sweep has ended"),
    ],
)
def test_checkpoints_go_when_nobody_can_go_on_from_them_or_after_some_days(
    client: Http,
    services: Services,
    settings: Settings,
    project_id: str,
    prepare: Prepare,
    reason: str,
) -> None:
    database, store = services.database, services.artifacts
    recent = {"finished_at": time.time()}
    stays = add_job(database, project_id, **recent)
    goes = add_job(database, project_id, **recent | prepare(database, services, project_id))
    unfinished = add_job(database, project_id, status="paused", finished_at=LONG_AGO)
    keys = {job: store_checkpoint(store, settings, job) for job in (stays, goes, unfinished)}
    before = kept(database)
    verdicts = {verdict.name: verdict for verdict in plan(database, store, settings)}
    assert verdicts[keys[goes]].action == "trash"  # a dry run tells what a real one does
    assert kept(database) == before
    actions = collect(database, store, settings)
    assert (actions[keys[stays]], actions[keys[goes]], actions[keys[unfinished]]) == ("keep", "trash", "keep")
    assert before - kept(database) == {goes}
    assert [reason in message for message in removal(client, goes)] == [True]
    assert removal(client, stays) == []


def test_the_checkpoints_of_a_model_go_with_it_after_the_grace(
    client: Http, services: Services, settings: Settings, project_id: str
) -> None:
    database = services.database
    job = add_job(database, project_id, kind="pretraining", finished_at=time.time())
    model = add_model(services, project_id, "sizes", job_id=job)
    assert client.delete(f"/v1/models/{model.id}").status_code == 204
    collect(database, services.artifacts, settings)
    assert kept(database) == {job}
    deleted(services, model.id)
    collect(database, services.artifacts, settings)
    assert kept(database) == set()
    refused = check_problem(client.post(f"/v1/jobs/{job}/extend", json={"epochs": 1}), 409, "cannot_extend")
    assert "its model has been deleted" in str(refused["detail"])


def test_what_an_unfinished_job_goes_on_from_stays(services: Services, settings: Settings, project_id: str) -> None:
    database = services.database
    first = add_job(database, project_id, finished_at=LONG_AGO)
    second = add_job(database, project_id, extends_id=first, status="queued")
    collect(database, services.artifacts, settings)
    assert kept(database) == {first, second}


def test_many_jobs_lose_their_checkpoints_in_several_transactions(
    services: Services, settings: Settings, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.storage.repository._MAX_EXPIRED", 2)
    for _ in range(5):
        add_job(services.database, project_id, finished_at=LONG_AGO)
    collect(services.database, services.artifacts, settings)
    assert kept(services.database) == set()


# ---- collection by itself -------------------------------------------------------------------------------------------


def begun(database: Database, seconds_ago: float) -> None:
    with database.writing() as session:
        session.execute(update(HousekeepingRow).values(begun_at=time.time() - seconds_ago))


def test_garbage_is_collected_by_itself_once_for_all_processes(services: Services, settings: Settings) -> None:
    database, store = services.database, services.artifacts
    key = store_checkpoint(store, settings, "job_gone")
    collectors = [Collector(database, store, settings) for _ in range(2)]
    for collector in collectors:
        collector.act()  # the first interval begins
    assert [entry.key for entry in store.entries()] == [key]
    begun(database, settings.gc_seconds - 60)
    collectors[0].act()
    assert [entry.key for entry in store.entries()] == [key]
    begun(database, settings.gc_seconds + 1)
    assert [collector._begin("collect") for collector in collectors] == [True, False]
    begun(database, settings.gc_seconds + 1)
    for collector in collectors:
        collector.act()
    assert [entry.key for entry in store.entries()] == [trash_key(key)]


def test_the_thread_collects_and_stops(services: Services, settings: Settings) -> None:
    store = services.artifacts
    key = store_checkpoint(store, settings, "job_gone")
    collector = Collector(services.database, store, settings.model_copy(update={"gc_seconds": 0.05}))
    collector.start()
    wait_until(lambda: [entry.key for entry in store.entries()] == [trash_key(key)], "it is collected")
    collector.stop()
    never = Collector(services.database, store, settings.model_copy(update={"gc_seconds": 0}))
    never.start()
    never.stop()


def test_a_job_row_of_another_kind_of_end_keeps_its_checkpoints(
    services: Services, settings: Settings, project_id: str
) -> None:
    """A failed job can be retried from its checkpoint, a cancelled one, too."""
    jobs = {
        add_job(services.database, project_id, status=end, finished_at=time.time()) for end in ("failed", "cancelled")
    }
    collect(services.database, services.artifacts, settings)
    assert kept(services.database) == jobs
    with services.database.reading() as session:
        assert set(session.scalars(select(JobRow.id))) == jobs
