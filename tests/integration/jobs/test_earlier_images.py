"""A version with more images takes over those that its dataset holds decoded, whatever becomes of that dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.artifacts import ArtifactStore, blob_key, open_store
from app.db.session import Database
from app.db.tables import DatasetRow
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.servers import make_bucket, s3
from tests.support.uploads import send
from tests.support.work import run_jobs
from tests.unit.datasets.conftest import picture, zipped

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

FILES = {f"{'ab'[i % 2]}/{i:03}.png": picture(i) for i in range(60)}
SPLIT_FILES = {f"{('train', 'test')[i % 3 == 0]}/{name}": data for i, (name, data) in enumerate(FILES.items())}


def first(files: dict[str, bytes], count: int) -> bytes:
    return zipped(dict(list(files.items())[:count]))


@pytest.fixture(params=["disk", "shards", "bucket"])
def place(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a service that stores inputs whole, or in shards of ten images of which a worker caches some."""
    if request.param == "disk":
        yield settings
        return
    sharded = settings.model_copy(update={"shard_bytes": 1440, "shard_cache_bytes": 6000})
    if request.param == "shards":
        yield sharded
        return
    with s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield sharded.model_copy(update={"artifacts_url": make_bucket(variables)})


@pytest.fixture
def service(place: Settings, key: str, database: Database, queue: MemoryQueue) -> Iterator[Http]:
    app = create_app(place, queue=queue)
    yield Http(app, key)
    app.state.services.database.close()


def ready(service: Http, place: Settings, path: str, **body: Any) -> dict[str, Any]:
    answer = service.post(path, json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(place)
    dataset: dict[str, Any] = service.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert dataset["status"] == "ready", dataset["error"]
    return dataset


def taken(service: Http, dataset: dict[str, Any]) -> list[str]:
    """What the report says of images that were taken over."""
    notices = service.get(f"/v1/datasets/{dataset['id']}/report").json()["notices"]
    return [notice.partition(", which")[0] for notice in notices if "taken over" in notice]


def files_of(database: Database, dataset: dict[str, Any]) -> dict[str, Any]:
    with database.reading() as session:
        return dict(session.get_one(DatasetRow, dataset["id"]).files or {})


def test_a_version_takes_over_what_its_dataset_holds(service: Http, place: Settings, database: Database) -> None:
    before = ready(service, place, "/v1/datasets", name="pets", upload=send(service, first(FILES, 50), "pets.zip"))
    upload = send(service, first(FILES, 60), "more.zip")
    grown = ready(service, place, f"/v1/datasets/{before['id']}/versions", upload=upload)
    assert taken(service, grown) == [f"50 of 60 images were taken over from {before['id']}"]
    anew = ready(service, place, "/v1/datasets", name="anew", upload=upload)
    assert taken(service, anew) == []
    rows = {
        row["row"]: (row["input"], row["targets"])
        for row in service.get(f"/v1/datasets/{anew['id']}/rows?limit=100").json()["data"]
    }
    for row in service.get(f"/v1/datasets/{grown['id']}/rows?limit=100").json()["data"]:
        assert rows[row["row"]] == (row["input"], row["targets"])
    same = ready(service, place, f"/v1/datasets/{grown['id']}/versions", options={"seed": 0})
    assert taken(service, same) == [f"60 of 60 images were taken over from {grown['id']}"]
    assert files_of(database, same) == files_of(database, anew)
    by_splits = ready(service, place, "/v1/datasets", name="of its own", upload=upload, same_splits_as=before["id"])
    assert taken(service, by_splits) == [f"50 of 60 images were taken over from {before['id']}"]


def test_a_dataset_whose_folders_are_splits_is_taken_over_from(service: Http, place: Settings) -> None:
    before = ready(service, place, "/v1/datasets", name="pets", upload=send(service, first(SPLIT_FILES, 50), "a.zip"))
    upload = send(service, first(SPLIT_FILES, 60), "b.zip")
    grown = ready(service, place, f"/v1/datasets/{before['id']}/versions", upload=upload)
    assert taken(service, grown) == [f"50 of 60 images were taken over from {before['id']}"]


def test_what_is_gone_or_of_an_earlier_release_is_decoded_anew(
    service: Http, place: Settings, database: Database
) -> None:
    upload = send(service, first(FILES, 60), "more.zip")
    before = ready(service, place, "/v1/datasets", name="pets", upload=send(service, first(FILES, 50), "pets.zip"))
    path = f"/v1/datasets/{before['id']}"
    files = {name: blob for name, blob in files_of(database, before).items() if name != "decodings.npy"}
    with database.writing() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == before["id"]).values(files=files))
    old = ready(service, place, f"{path}/versions", upload=upload)
    assert taken(service, old) == []
    answer = service.post(f"/v1/datasets/{old['id']}/versions", json={"upload": upload, "options": {"seed": 0}})
    assert answer.status_code == 202
    assert service.delete(f"/v1/datasets/{old['id']}").status_code == 204, "its images are no reason to keep it"
    run_jobs(place)
    orphan = service.get(answer.json()["links"]["self"]).json()
    assert (orphan["status"], taken(service, orphan)) == ("ready", [])
    anew = ready(service, place, "/v1/datasets", name="anew", upload=upload)
    assert files_of(database, orphan) == files_of(database, anew)


def replace(store: ArtifactStore, key: str, path: Path) -> None:
    store.delete(key)
    store.put(key, path)


@pytest.mark.parametrize("damaged", ["inputs", "decodings"])
def test_images_that_are_damaged_in_the_store_are_decoded_anew(
    service: Http, place: Settings, database: Database, damaged: str
) -> None:
    before = ready(service, place, "/v1/datasets", name="pets", upload=send(service, first(FILES, 50), "pets.zip"))
    blob = next(blob for name, blob in files_of(database, before).items() if name.startswith(damaged))
    store, key = open_store(place), blob_key(blob["sha256"])
    sound, path = place.data_folder / "sound", place.data_folder / "damaged"
    store.export(key, sound)
    path.write_bytes(bytes(blob["bytes"]))
    replace(store, key, path)
    upload = send(service, first(FILES, 60), "more.zip")
    version = ready(service, place, f"/v1/datasets/{before['id']}/versions", upload=upload)
    assert not taken(service, version)
    events = service.get(f"/v1/jobs/{version['job']}/events").json()["data"]
    said = [event["message"] for event in events if event["level"] == "warning"]
    assert any("decoded anew" in message and "damaged" in message for message in said), said
    replace(store, key, sound)
    restored = ready(service, place, f"/v1/datasets/{before['id']}/versions", upload=upload)
    assert taken(service, restored)
    assert files_of(database, version) == files_of(database, restored)
