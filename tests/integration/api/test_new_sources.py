"""Versions of a dataset from a new source with more rows: what stays, and what is refused."""

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import update

from app.db.tables import DatasetRow
from app.dependencies import Services
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.uploads import send
from tests.support.work import run_jobs
from tests.unit.datasets.conftest import zipped

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

LINES = [f"{i % 9 + i / 100},{i % 7},{'large' if i % 9 > 4 else 'small'}" for i in range(80)]
OPTIONS = {"columns": {"kind": "target"}, "types": {"code": "category"}}


def csv(lines: list[str]) -> bytes:
    return "\n".join(["size,code,kind", *lines, ""]).encode()


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def create(client: Http, content: bytes, **fields: Any) -> str:
    data = {"name": "sizes"} | {name: json.dumps(value) for name, value in fields.items()}
    answer = client.post("/v1/datasets", files={"file": ("first.csv", content)}, data=data)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def version(client: Http, dataset: str, **body: Any) -> httpx.Response:
    return client.post(f"/v1/datasets/{dataset}/versions", json=body)


def prepared(client: Http, services: Services, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    run_jobs(services.settings)
    dataset: dict[str, Any] = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert dataset["status"] == "ready", dataset["error"]
    return dataset


def splits(client: Http, dataset: str) -> dict[str, str]:
    """The split of each row, by its inputs."""
    rows = client.get(f"/v1/datasets/{dataset}/rows?limit=100").json()["data"]
    return {json.dumps(row["input"]): row["split"] for row in rows}


def test_rows_of_a_new_source_keep_options_and_splits(client: Http, services: Services) -> None:
    first = create(client, csv(LINES[:60]), **OPTIONS)
    run_jobs(services.settings)
    upload = send(client, csv(LINES[::-1]), "second.csv")
    grown = prepared(client, services, version(client, first, upload=upload))
    assert (grown["name"], grown["filename"], grown["source"]) == ("sizes", "second.csv", None)
    assert sum(grown["rows"].values()) == 80
    assert [column["type"] for column in grown["columns"]] == ["number", "category"], "options stay"
    assert splits(client, grown["id"]).items() >= splits(client, first).items()
    decision, *_ = (item for item in grown["decisions"] if item["field"] == "splits")
    assert decision["reason"] == "60 of 80 rows are in it and keep their split"
    again = prepared(client, services, version(client, grown["id"], options={"types": {}}))
    assert (again["filename"], again["sha256"]) == ("second.csv", grown["sha256"]), "the source of a version is its own"


def test_the_folders_of_a_new_source_say_its_splits(client: Http, services: Services) -> None:
    names = [f"{('train', 'test')[i % 2]}/{('cat', 'dog')[i // 2 % 2]}/{i}.png" for i in range(24)]
    files = {name: picture(i) for i, name in enumerate(names)}
    first = create(client, zipped(dict(list(files.items())[:16])))
    run_jobs(services.settings)
    moved = {name.replace("train", "test") if name.endswith("/2.png") else name: data for name, data in files.items()}
    grown = prepared(client, services, version(client, first, upload=send(client, zipped(moved), "more.zip")))
    assert grown["rows"] == {"train": 11, "validation": 0, "test": 13}


def test_a_version_of_a_failed_dataset_brings_a_sound_file(client: Http, services: Services) -> None:
    broken = create(client, csv([*LINES[:30], "inf,1,large"]), **OPTIONS)
    run_jobs(services.settings)
    assert client.get(f"/v1/datasets/{broken}").json()["status"] == "failed"
    mended = prepared(client, services, version(client, broken, upload=send(client, csv(LINES), "a.csv")))
    assert mended["targets"][0]["name"] == "kind"


def test_splits_that_cannot_be_kept_are_refused(client: Http, services: Services) -> None:
    first = create(client, csv(LINES[:60]), **OPTIONS)
    upload = send(client, csv(LINES), "a.csv")
    check_problem(version(client, first, upload=upload), 409, "dataset_not_ready")
    assert version(client, first, upload=upload, options={"seed": 1}).status_code == 202, "they are not to be kept"
    run_jobs(services.settings)
    with services.database.writing() as session:
        session.execute(update(DatasetRow).values(files={"inputs.npy": {"sha256": "0" * 64, "bytes": 1}}))
    check_problem(version(client, first, upload=upload), 409, "dataset_outdated")


def test_a_wrong_source_is_refused_by_its_field(
    app: FastAPI, client: Http, services: Services, make_key: MakeKey
) -> None:
    first = create(client, csv(LINES[:60]), **OPTIONS)
    run_jobs(services.settings)
    upload = send(client, csv(LINES), "a.csv")
    strangers = send(Http(app, make_key(project="another")), csv(LINES), "a.csv")
    begun = str(client.post("/v1/uploads", json={"filename": "a.csv"}).json()["id"])
    for field, value in (("upload", "upl_0"), ("upload", strangers), ("upload", begun), ("source", "file:///etc")):
        problem = check_problem(version(client, first, **{field: value}), 422)
        assert problem["errors"][0]["loc"] == ["body", field], value  # type: ignore[index]
    assert "not both" in version(client, first, upload=upload, source="file:///etc").text
    unknown = send(client, bytes(range(256)) * 20, "a.bin")
    check_problem(version(client, first, upload=unknown), 415)
    check_problem(version(client, "ds_" + "0" * 32, upload=upload), 404, "dataset_not_found")
    assert len(client.get("/v1/datasets").json()["data"]) == 1


def test_one_key_makes_one_version_of_one_source(client: Http, services: Services) -> None:
    first = create(client, csv(LINES[:60]), **OPTIONS)
    run_jobs(services.settings)
    path, key = f"/v1/datasets/{first}/versions", {"Idempotency-Key": "k"}
    upload, other = (send(client, csv(LINES[:count]), "a.csv") for count in (70, 80))
    one, two = (client.post(path, headers=key, json={"upload": upload}) for _ in range(2))
    assert (one.status_code, one.json()) == (202, two.json())
    check_problem(client.post(path, headers=key, json={"upload": other}), 422, "idempotency_mismatch")
    assert len(client.get("/v1/datasets").json()["data"]) == 2
