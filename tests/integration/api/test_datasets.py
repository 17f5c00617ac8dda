import base64
import hashlib
import io
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from app.artifacts import blob_key
from app.db.session import Database
from app.db.tables import DatasetRow, JobRow
from app.dependencies import Services
from app.kit.ids import new_id
from app.queue import MemoryQueue
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

CSV = b"width,height,label\n" + b"".join(b"%d,%d,%s\n" % (i, i * i, b"ab"[i % 2 : i % 2 + 1]) for i in range(40))


def upload(client: Http, content: bytes = CSV, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    fields = {"name": "shapes", **fields}
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    return client.post("/v1/datasets", files={"file": ("a.csv", content)}, data=data, headers=headers or {})


def count(database: Database) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).select_from(DatasetRow)).scalar_one()


def leftovers(services: Services) -> list[Path]:
    folder = services.settings.data_folder / "tmp"
    return list(folder.iterdir()) if folder.exists() else []


def test_lists_of_a_form_come_as_json_or_as_a_part_for_each_item(client: Http, database: Database) -> None:
    def sent(**fields: Any) -> Any:
        return client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "shapes", **fields})

    steps = ['{"kind": "corrupt"}', '{"kind": "duplicates"}']
    for fields, expected in (
        ({"missing_values": ["-1", "n/a"]}, ["-1", "n/a"]),
        ({"missing_values": ["-1"]}, ["-1"]),
        ({"missing_values": '["-1", "n/a"]', "cleaning": steps}, ["-1", "n/a"]),
    ):
        answer = sent(**fields)
        assert answer.status_code == 202, answer.text
        with database.reading() as session:
            options = session.scalars(select(DatasetRow.options).where(DatasetRow.id == answer.json()["id"])).one()
        assert options["missing_values"] == expected
    assert [step["kind"] for step in options["cleaning"]] == ["corrupt", "duplicates"]
    problem = check_problem(sent(seed=["1", "2"]), 422)
    assert problem["errors"][0]["loc"] == ["body", "seed"]
    assert "stands twice" in str(problem["detail"])


def test_an_upload_is_kept_queued_and_rung(client: Http, services: Services, queue: MemoryQueue) -> None:
    answer = upload(client, columns={"width": "ignored"}, seed="3", splits={"train": 0.5, "test": 0.5})
    assert answer.status_code == 202
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}" == dataset["links"]["self"]
    assert dataset["status"] == "preparing"
    assert dataset["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert dataset["bytes"] == len(CSV)
    assert (dataset["rows"], dataset["targets"], dataset["columns"], dataset["error"]) == (None, None, None, None)
    assert client.get(f"/v1/jobs/{dataset['job']}").json()["kind"] == "preparation"
    assert services.artifacts.fetch(blob_key(dataset["sha256"])).read_bytes() == CSV
    assert queue.rings == 1
    assert leftovers(services) == []
    with services.database.reading() as session:
        row = session.get_one(DatasetRow, dataset["id"])
    assert (row.options["columns"], row.options["seed"]) == ({"width": "ignored"}, 3)


def test_a_prepared_dataset_tells_all_about_itself(client: Http, services: Services) -> None:
    dataset_id = upload(client).json()["id"]
    check_problem(client.get(f"/v1/datasets/{dataset_id}/report"), 409, "dataset_not_ready")
    check_problem(client.get(f"/v1/datasets/{dataset_id}/rows"), 409, "dataset_not_ready")
    assert run_jobs(services.settings) == 1
    dataset = client.get(f"/v1/datasets/{dataset_id}").json()
    assert dataset["status"] == "ready"
    assert dataset["modality"] == "table"
    assert sum(dataset["rows"].values()) == 40
    assert dataset["targets"] == [{"name": "label", "type": "category", "classes": ["a", "b"], "group": None}]
    assert [column["name"] for column in dataset["columns"]] == ["width", "height"]
    assert dataset["prepared_at"] > dataset["created_at"]
    report = client.get(f"/v1/datasets/{dataset_id}/report").json()
    assert report["rows"] == {"read": 40, "kept": 40, "removed": report["rows"]["removed"]}


def test_rows_come_in_pages(client: Http, services: Services) -> None:
    dataset_id = upload(client).json()["id"]
    run_jobs(services.settings)
    first = client.get(f"/v1/datasets/{dataset_id}/rows", params={"limit": 3}).json()
    assert (first["total"], first["offset"], first["has_more"]) == (40, 0, True)
    number = first["data"][0]["row"]
    assert first["data"][0]["input"] == {"width": number, "height": number * number}
    assert first["data"][0]["targets"] == {"label": "ab"[number % 2]}
    last = client.get(f"/v1/datasets/{dataset_id}/rows", params={"limit": 3, "offset": 39}).json()
    assert (len(last["data"]), last["has_more"]) == (1, False)
    beyond = client.get(f"/v1/datasets/{dataset_id}/rows", params={"offset": 10**9}).json()
    assert (beyond["data"], beyond["has_more"]) == ([], False)
    assert leftovers(services) == []


def test_images_can_be_looked_at(client: Http, services: Services) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 5, 4), np.uint8)
    np.savez(buffer, x=pixels)
    dataset_id = upload(client, buffer.getvalue()).json()["id"]
    run_jobs(services.settings)
    dataset = client.get(f"/v1/datasets/{dataset_id}").json()
    assert (dataset["modality"], dataset["columns"], dataset["targets"]) == ("image", None, [])
    row = client.get(f"/v1/datasets/{dataset_id}/rows", params={"limit": 1}).json()["data"][0]
    assert row["input"].startswith("data:image/png;base64,")


def test_damaged_prepared_files_are_never_shown(client: Http, services: Services) -> None:
    dataset_id = upload(client).json()["id"]
    run_jobs(services.settings)
    with services.database.reading() as session:
        files = session.get_one(DatasetRow, dataset_id).files or {}
    path = services.artifacts.fetch(blob_key(files["inputs.npy"]["sha256"]))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    check_problem(client.get(f"/v1/datasets/{dataset_id}/rows"), 500, "corrupt_artifact")


def test_a_failed_preparation_says_where(client: Http, services: Services) -> None:
    dataset_id = upload(client, b"a,b\n1,2\n3\n").json()["id"]
    run_jobs(services.settings)
    dataset = client.get(f"/v1/datasets/{dataset_id}").json()
    assert dataset["status"] == "failed"
    assert dataset["error"]["code"]
    assert dataset["error"]["errors"]
    check_problem(client.get(f"/v1/datasets/{dataset_id}/report"), 409, "dataset_failed")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"name": ""}, ["body", "name"]),
        ({"name": "x" * 201}, ["body", "name"]),
        ({"name": "a\x1b[31m"}, ["body", "name"]),
        ({"modality": "sound"}, ["body", "modality"]),
        ({"columns": "width"}, ["body", "columns"]),
        ({"columns": {"width": "owner"}}, ["body", "columns", "width"]),
        ({"columns": '{"a": "input", "a": "target"}'}, ["body", "columns"]),
        ({"splits": '{"train": NaN}'}, ["body", "splits"]),
        ({"splits": {"train": 0.5}}, ["body"]),
        ({"seed": "-1"}, ["body", "seed"]),
        ({"image": '{"height": 1e9, "width": 1}'}, ["body", "image", "height"]),
        ({"surprise": "1"}, ["body", "surprise"]),
    ],
)
def test_a_wrong_field_is_named_and_nothing_stays(
    client: Http, services: Services, fields: dict[str, Any], place: list[str]
) -> None:
    body = check_problem(upload(client, **fields), 422)
    assert body["errors"][0]["loc"] == place  # type: ignore[index]
    assert count(services.database) == 0
    assert leftovers(services) == []


def test_a_form_without_name_or_file_is_refused(client: Http) -> None:
    body = check_problem(client.post("/v1/datasets", files={"file": ("a.csv", CSV)}), 422)
    assert body["errors"][0]["loc"] == ["body", "name"]  # type: ignore[index]
    boundary = '--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nn\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    body = check_problem(client.post("/v1/datasets", content=boundary, headers=headers), 422)
    assert body["errors"][0]["loc"] == ["body", "file"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty_dataset"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 415, "unsupported_format"),
        (b"%PDF-1.7 ", 415, "unsupported_format"),
        (b"\x80\x04\x95" + b"\0" * 50, 415, "unsupported_format"),
    ],
)
def test_what_can_never_be_read_is_refused_at_once(
    client: Http, services: Services, content: bytes, status: int, code: str
) -> None:
    check_problem(upload(client, content), status, code)
    assert count(services.database) == 0


def test_a_digest_is_checked(client: Http) -> None:
    boundary, end = "x", "\r\n--x--\r\n"
    parts = [("name", "", "n"), ("file", '; filename="a.csv"', CSV.decode())]
    lines = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"{f}\r\n\r\n{v}' for n, f, v in parts]
    body = ("\r\n".join(lines) + end).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"content-type": "multipart/form-data; boundary=x", "content-digest": f"sha-256=:{digest}:"}
    assert client.post("/v1/datasets", content=body, headers=headers).status_code == 202
    check_problem(client.post("/v1/datasets", content=body + b"\r\n", headers=headers), 400, "digest_mismatch")


def test_the_first_answer_to_a_key_is_repeated(client: Http, services: Services, queue: MemoryQueue) -> None:
    key = {"Idempotency-Key": "once"}
    first = upload(client, headers=key)
    assert upload(client, headers=key).json() == first.json()
    assert count(services.database) == 1
    assert queue.rings == 1
    check_problem(upload(client, CSV + b"1,2,a\n", headers=key), 422, "idempotency_mismatch")
    check_problem(upload(client, headers=key, seed="1"), 422, "idempotency_mismatch")
    check_problem(upload(client, headers={"Idempotency-Key": "two words"}), 400, "invalid_idempotency_key")


def test_one_key_at_once_is_one_dataset(client: Http, services: Services, queue: MemoryQueue) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: upload(client, headers={"Idempotency-Key": "once"}), range(4)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(services.database) == 1
    assert queue.rings == 1


def test_the_same_bytes_twice_at_once_are_one_blob_and_two_datasets(client: Http, services: Services) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: upload(client), range(4)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 4
    blobs = [path for path in (services.settings.data_folder / "artifacts").rglob("*") if path.is_file()]
    assert len(blobs) == 1


def test_lists_are_filtered_and_paged(client: Http, database: Database) -> None:
    ids = [upload(client, name=name).json()["id"] for name in ("a", "b", "a")]
    with database.writing() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == ids[0]).values(status="failed"))
    listed = client.get("/v1/datasets").json()
    assert [dataset["id"] for dataset in listed["data"]] == ids[::-1]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (ids[2], ids[0], False)
    assert [dataset["id"] for dataset in client.get("/v1/datasets?name=a&order=asc").json()["data"]] == [ids[0], ids[2]]
    assert [dataset["id"] for dataset in client.get("/v1/datasets?status=failed").json()["data"]] == [ids[0]]
    page = client.get("/v1/datasets?limit=2").json()
    assert page["has_more"]
    rest = client.get("/v1/datasets", params={"limit": 2, "after": page["last_id"]}).json()
    assert [dataset["id"] for dataset in rest["data"]] == [ids[0]]
    check_problem(client.get("/v1/datasets?status=sleeping"), 422)
    check_problem(client.get("/v1/datasets?limit=1000000000"), 422)
    check_problem(client.get("/v1/datasets?name=%00"), 400)


def test_a_deleted_dataset_is_gone_unless_a_job_reads_it(client: Http, services: Services) -> None:
    dataset = upload(client).json()
    path = dataset["links"]["self"]
    body = check_problem(client.delete(path), 409, "in_use")
    assert dataset["job"] in str(body["detail"])
    run_jobs(services.settings)
    assert client.delete(path).status_code == 204
    for url in (path, f"{path}/report", f"{path}/rows"):
        check_problem(client.get(url), 404, "dataset_not_found")
    check_problem(client.delete(path), 404)
    assert client.get("/v1/datasets").json()["data"] == []
    assert count(services.database) == 1


def test_an_upload_that_is_too_large_is_refused(app: FastAPI, client: Http, services: Services) -> None:
    small = services.settings.model_copy(update={"max_upload_bytes": 500})
    app.state.services = Services(**{**services.__dict__, "settings": small})
    check_problem(upload(client, b"a,b\n" * 1000), 413, "too_large")

    async def chunks() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"a,b\n" * 10

    headers = {"content-type": "multipart/form-data; boundary=x"}
    check_problem(client.post("/v1/datasets", content=chunks(), headers=headers), 413, "too_large")
    assert leftovers(services) == []
    assert count(services.database) == 0


def test_a_full_disk_is_told_and_nothing_stays(client: Http, services: Services) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        answer = upload(client, b"a,b\n" * (1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_problem(answer, 507, "storage_full")
    assert leftovers(services) == []
    assert count(services.database) == 0
    assert upload(client).status_code == 202


def test_a_job_of_another_dataset_does_not_hold_this_one(client: Http, services: Services, project_id: str) -> None:
    dataset = upload(client).json()
    run_jobs(services.settings)
    other = upload(client).json()
    with services.database.reading() as session:
        running = session.scalars(select(JobRow.dataset_id).where(JobRow.status == "queued")).all()
    assert list(running) == [other["id"]]
    assert client.delete(dataset["links"]["self"]).status_code == 204
    check_problem(client.get(f"/v1/datasets/{new_id('ds')}"), 404)
    assert project_id
