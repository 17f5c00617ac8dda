"""Datasets that are registered in place: from a folder and from a bucket, and what is refused."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.artifacts.s3 import open_bucket
from app.datasets.errors import DatasetError
from app.datasets.registered.sources import fetch_source, list_source
from app.db.session import Database
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.servers import make_bucket, s3, wait_until
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

TABLE = "size,kind\n" + "".join(f"{i % 9 + i / 100},{'large' if i % 9 > 4 else 'small'}\n" for i in range(60))


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


FILES = {
    "tables/sizes.csv": TABLE.encode(),
    **{f"pictures/{kind}/{i}.png": picture(i + 100 * (kind == "dog")) for kind in ("cat", "dog") for i in range(15)},
    "secret/keys.csv": TABLE.encode(),
    "tablesandmore/sizes.csv": TABLE.encode(),
}


class Place:
    """A folder or a bucket with the files, and a service that may read two of its three folders."""

    def __init__(self, root: str, settings: Settings, folder: Path | None) -> None:
        self.root, self._folder = root, folder
        self.settings = settings.model_copy(update={"sources": [f"{root}/tables", f"{root}/pictures/"]})
        for name, content in FILES.items():
            self.write(name, content)

    def write(self, name: str, content: bytes) -> None:
        if self._folder is not None:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(content)
        else:
            open_bucket(self.root, 60).put(name, content)


@pytest.fixture(params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param == "folder":
        yield Place(f"file://{tmp_path}/corpus", settings, tmp_path / "corpus")
        return
    with s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield Place(make_bucket(variables), settings, None)


@pytest.fixture
def service(place: Place, key: str, database: Database, queue: MemoryQueue) -> Iterator[Http]:
    app = create_app(place.settings, queue=queue)
    yield Http(app, key)
    app.state.services.database.close()


def register(service: Http, source: str, **fields: Any) -> httpx.Response:
    return service.post("/v1/datasets", json={"name": "corpus", "source": source, **fields})


def prepared(service: Http, place: Place, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    run_jobs(place.settings)
    dataset: dict[str, Any] = service.get(f"/v1/datasets/{answer.json()['id']}").json()
    return dataset


def test_a_file_is_prepared_as_an_upload_of_it(service: Http, place: Place) -> None:
    source = f"{place.root}/tables/sizes.csv"
    dataset = prepared(service, place, register(service, source, columns={"kind": "target"}))
    form = {"name": "uploaded", "columns": '{"kind": "target"}'}
    uploaded = prepared(service, place, service.post("/v1/datasets", files={"file": ("a.csv", TABLE)}, data=form))
    assert (dataset["status"], dataset["rows"]) == ("ready", uploaded["rows"])
    assert dataset["source"] == {"url": source, "files": 1, "bytes": len(TABLE)}
    assert uploaded["source"] is None
    pages = [service.get(f"/v1/datasets/{each['id']}/rows?limit=100").json()["data"] for each in (dataset, uploaded)]
    assert pages[0] == pages[1]
    version = prepared(service, place, service.post(f"/v1/datasets/{dataset['id']}/versions", json={}))
    assert (version["status"], version["source"]) == ("ready", dataset["source"])
    body = {
        "kind": "pretraining",
        "dataset": dataset["id"],
        "method": {"kind": "autoencoder"},
        "training": {"steps": 2},
    }
    job = service.post("/v1/jobs", json=body).json()["id"]
    run_jobs(place.settings)
    model = service.get(f"/v1/jobs/{job}").json()["outputs"][0]["model"]
    head = {"model": model, "dataset": dataset["id"], "target": "kind", "name": "sizes"}
    assert service.post("/v1/heads", json=head).status_code == 201
    body = {"kind": "batch_prediction", "model": "sizes", "dataset": dataset["id"], "keep": ["kind"]}
    answers = service.post("/v1/jobs", json=body).json()["id"]
    run_jobs(place.settings)
    ended = service.get(f"/v1/jobs/{answers}").json()
    assert ended["status"] == "succeeded", ended["error"]  # a column of the file is copied: it was fetched once more


def test_a_folder_of_pictures_is_prepared_by_its_folders(service: Http, place: Place) -> None:
    dataset = prepared(service, place, register(service, f"{place.root}/pictures"))
    assert (dataset["status"], dataset["modality"]) == ("ready", "image"), dataset["error"]
    assert sum(dataset["rows"].values()) == 30
    assert [target["classes"] for target in dataset["targets"]] == [["cat", "dog"]]
    assert dataset["source"]["files"] == 30


def test_what_has_changed_is_refused(service: Http, place: Place) -> None:
    answer = register(service, f"{place.root}/pictures")
    place.write("pictures/cat/3.png", picture(77))
    place.write("pictures/cat/new.png", picture(78))
    dataset = prepared(service, place, answer)
    assert dataset["status"] == "failed"
    assert dataset["error"]["code"] == "source_changed"
    assert "cat/3.png, cat/new.png" in dataset["error"]["message"]
    assert "register it anew" in dataset["error"]["message"]
    assert prepared(service, place, register(service, f"{place.root}/pictures"))["status"] == "ready"


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_what_changes_while_it_is_copied_is_refused(place: Place, tmp_path: Path) -> None:
    large = tmp_path / "corpus" / "pictures" / "a.raw"
    large.touch()
    os.truncate(large, 300 << 20)
    listing = list_source(f"{place.root}/pictures", place.settings)
    copied = tmp_path / "copied"
    copied.mkdir()

    def change() -> None:
        wait_until(lambda: any(copied.iterdir()), "the copy begins")
        place.write("pictures/dog/9.png", picture(7))

    changing = Thread(target=change)
    changing.start()
    with pytest.raises(DatasetError, match=r"dog/9\.png"):
        fetch_source(listing, place.settings, copied)
    changing.join()


@pytest.mark.parametrize("place", ["bucket"], indirect=True)
@pytest.mark.parametrize("store", ["", "/tables/store"])
def test_the_bucket_of_the_service_is_refused(place: Place, store: str) -> None:
    own = place.settings.model_copy(update={"artifacts_url": f"{place.root}{store}"})
    assert list_source(f"{place.root}/tables", place.settings).files
    with pytest.raises(DatasetError, match="the service's own files"):
        list_source(f"{place.root}/tables", own)


def test_a_version_lists_the_files_anew(service: Http, place: Place) -> None:
    source = f"{place.root}/pictures"
    first = prepared(service, place, register(service, source))
    for i in range(6):
        place.write(f"pictures/cat/new{i}.png", picture(70 + i))
    stale = prepared(service, place, service.post(f"/v1/datasets/{first['id']}/versions", json={}))
    assert stale["error"]["code"] == "source_changed", "without a source it is that of the listing"
    grown = prepared(service, place, service.post(f"/v1/datasets/{first['id']}/versions", json={"source": source}))
    assert (grown["status"], grown["source"]["files"], sum(grown["rows"].values())) == ("ready", 36, 36), grown["error"]
    assert first["source"]["files"] == 30
    before, after = (
        {row["input"]: row["split"] for row in service.get(f"/v1/datasets/{each['id']}/rows?limit=100").json()["data"]}
        for each in (first, grown)
    )
    assert after.items() >= before.items(), "rows keep their splits"
    refused = service.post(f"/v1/datasets/{first['id']}/versions", json={"source": f"{place.root}/secret"})
    assert (refused.status_code, refused.json()["code"]) == (422, "source_refused")
    assert refused.json()["errors"][0]["loc"] == ["body", "source"]


def test_what_is_not_allowed_any_more_is_refused(service: Http, place: Place) -> None:
    answer = register(service, f"{place.root}/tables/sizes.csv")
    place.settings = place.settings.model_copy(update={"sources": []})
    dataset = prepared(service, place, answer)
    assert dataset["error"]["code"] == "source_refused"


@pytest.mark.parametrize(
    "path",
    [
        "secret/keys.csv",
        "",
        "tables/../secret/keys.csv",
        "tables/./sizes.csv",
        "tables//sizes.csv",
        "tables%2F..%2Fsecret/keys.csv",
        "tables/..\\secret",
        "tablesandmore/sizes.csv",
        "tables?list-type=2",
        "tables#a",
        "tables/gone.csv",
        "tables/sizes.csv/deeper",
    ],
)
def test_other_places_are_refused(service: Http, place: Place, path: str) -> None:
    answer = register(service, f"{place.root}/{path}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "source_refused"
    assert answer.json()["errors"][0]["loc"] == ["body", "source"]


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://corpus.example/a.csv",
        "s3://user@bucket/tables",
        "s3://127.0.0.1:9000/tables",
        "s3:///tables",
        "file://host/etc/passwd",
        "file:///etc/passwd",
        "file:etc/passwd",
        "/etc/passwd",
        "gs://bucket/a",
    ],
)
def test_other_urls_are_refused(client: Http, source: str) -> None:
    answer = register(client, source)
    assert (answer.status_code, answer.json()["code"]) == (422, "source_refused")


def test_links_lead_nowhere(
    settings: Settings, key: str, database: Database, queue: MemoryQueue, tmp_path: Path
) -> None:
    root = tmp_path / "corpus"
    place = Place(f"file://{root}", settings, root)
    (root / "tables" / "leak.csv").symlink_to(root / "secret" / "keys.csv")
    (root / "tables" / "all").symlink_to(root / "secret")
    place.settings = place.settings.model_copy(
        update={"sources": [f"file://{root}/tables", f"file://{settings.data_folder}", f"file://{tmp_path}"]}
    )
    app = create_app(place.settings, queue=queue)
    client = Http(app, key)
    allowed = place.settings.model_copy(update={"sources": [f"file://{root}/tables"]})
    narrow = Http(create_app(allowed, queue=queue), key)
    for path, who in (("tables", client), ("tables/leak.csv", narrow), ("tables/all/keys.csv", narrow)):
        answer = register(who, f"file://{root}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "source_refused"), path
    for own in (settings.data_folder, tmp_path, settings.data_folder / "graftwork.db"):
        answer = register(client, f"file://{own}")
        assert "the service's own files" in answer.text
    for each in (client, narrow):
        each.app.state.services.database.close()


def test_an_upload_is_never_taken_for_a_listing(service: Http, place: Place) -> None:
    listing = {"url": f"{place.root}/secret", "files": [{"name": "keys.csv", "bytes": 1, "version": "1"}]}
    form = {"files": {"file": ("a.jsonl", json.dumps(listing))}, "data": {"name": "listing"}}
    dataset = prepared(service, place, service.post("/v1/datasets", **form))
    assert dataset["source"] is None
    assert (dataset["error"] or {}).get("code") not in {"source_refused", "source_changed"}
    both = register(service, f"{place.root}/tables", upload="upl_0")
    neither = service.post("/v1/datasets", json={"name": "nothing"})
    assert (both.status_code, neither.status_code) == (422, 422)
    assert "not both" in neither.text


def test_what_is_too_large_is_refused(place: Place, key: str, database: Database, queue: MemoryQueue) -> None:
    app = create_app(place.settings.model_copy(update={"max_upload_bytes": 100}), queue=queue)
    answer = register(Http(app, key), f"{place.root}/pictures")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_large")
    app.state.services.database.close()
