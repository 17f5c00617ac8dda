"""Files that arrive in parts: in any order, again where they broke, and whole once they are put together."""

import base64
import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.artifacts import open_store
from app.db.session import Database
from app.dependencies import Services
from app.errors import QuotaError
from app.kit.streaming import ReceivedFile
from app.settings import Settings
from app.storage.garbage_collection import carry_out, plan
from app.uploads import repository, service
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

CSV = b"size,kind\n" + b"".join(b"%d,%s\n" % (i, b"big" if i > 50 else b"small") for i in range(100))
PARTS = [CSV[:300], CSV[300:700], CSV[700:]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def limit(app: FastAPI, **settings: int) -> None:
    services: Services = app.state.services
    app.state.services = dataclasses.replace(services, settings=services.settings.model_copy(update=settings))


def begin(client: Http, **fields: Any) -> str:
    answer = client.post("/v1/uploads", json={"filename": "sizes.csv", **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/uploads/{answer.json()['id']}"
    return str(answer.json()["id"])


def put(client: Http, upload: str, number: int, content: bytes, **headers: str) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream", **headers}
    return client.put(f"/v1/uploads/{upload}/parts/{number}", content=content, headers=headers)


def sent(client: Http, **fields: Any) -> str:
    """An upload whose parts have all arrived, the last one first."""
    upload = begin(client, **fields)
    for number in (3, 1, 2):
        answer = put(client, upload, number, PARTS[number - 1])
        part = {"number": number, "bytes": len(PARTS[number - 1]), "sha256": sha256(PARTS[number - 1])}
        assert (answer.status_code, answer.json()) == (200, part)
    return upload


def complete(client: Http, upload: str, **body: Any) -> httpx.Response:
    return client.post(f"/v1/uploads/{upload}/complete", json=body)


def test_parts_become_one_file_and_a_dataset(client: Http, settings: Settings) -> None:
    upload = sent(client, bytes=len(CSV), sha256=sha256(CSV))
    listed = client.get(f"/v1/uploads/{upload}").json()
    assert [part["number"] for part in listed["parts"]] == [1, 2, 3]
    assert (listed["status"], listed["received_bytes"]) == ("open", len(CSV))
    for _ in range(2):  # completing it again changes nothing
        whole = complete(client, upload).json()
        assert (whole["status"], whole["bytes"], whole["sha256"]) == ("complete", len(CSV), sha256(CSV))
        assert whole["parts"] == []
    body = {"name": "sizes", "upload": upload, "columns": {"kind": "target"}}
    dataset = client.post("/v1/datasets", json=body)
    assert dataset.status_code == 202, dataset.text
    assert dataset.headers["location"] == f"/v1/datasets/{dataset.json()['id']}"
    run_jobs(settings)
    ready = client.get(f"/v1/datasets/{dataset.json()['id']}").json()
    assert (ready["status"], ready["filename"], sum(ready["rows"].values())) == ("ready", "sizes.csv", 100)
    assert [target["name"] for target in ready["targets"]] == ["kind"]
    assert client.delete(f"/v1/uploads/{upload}").status_code == 204
    assert client.get(f"/v1/datasets/{ready['id']}/rows").status_code == 200


def test_a_part_that_is_sent_again_replaces_the_earlier_one(client: Http) -> None:
    upload = begin(client)
    put(client, upload, 1, b"wrong\n")
    assert put(client, upload, 1, CSV).status_code == 200
    assert complete(client, upload).json()["sha256"] == sha256(CSV)
    check_problem(put(client, upload, 2, b"more"), 409, "upload_complete")


def test_parts_arrive_at_once(client: Http) -> None:
    upload, pieces = begin(client), [CSV[place : place + 50] for place in range(0, len(CSV), 50)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda entry: put(client, upload, *entry), enumerate(pieces, 1)))
    assert {answer.status_code for answer in answers} == {200}
    assert complete(client, upload).json()["sha256"] == sha256(CSV)


def test_an_upload_is_looked_for_by_the_digest_of_its_file(client: Http) -> None:
    upload = begin(client, sha256=sha256(CSV))
    begin(client, sha256=sha256(b"another"))
    (only,) = client.get(f"/v1/uploads?status=open&sha256={sha256(CSV)}").json()["data"]
    assert only["id"] == upload


def test_what_is_damaged_or_missing_is_named_and_can_be_mended(client: Http) -> None:
    upload = begin(client, bytes=len(CSV), sha256=sha256(CSV))
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(PARTS[0]).digest()).decode()}:"
    check_problem(put(client, upload, 1, PARTS[1], **{"Content-Digest": digest}), 400, "digest_mismatch")
    assert client.get(f"/v1/uploads/{upload}").json()["parts"] == []
    assert put(client, upload, 1, PARTS[0], **{"Content-Digest": digest}).status_code == 200
    put(client, upload, 3, PARTS[2])
    assert "missing: 2" in check_problem(complete(client, upload), 422, "incomplete_upload")["detail"]
    put(client, upload, 2, PARTS[1][:-1])
    assert f"announced {len(CSV)}" in check_problem(complete(client, upload), 422, "incomplete_upload")["detail"]
    put(client, upload, 2, PARTS[1][:-1] + b"?")
    check_problem(complete(client, upload), 400, "digest_mismatch")
    put(client, upload, 2, PARTS[1])
    assert complete(client, upload).json()["status"] == "complete"
    check_problem(complete(client, upload, sha256=sha256(b"another")), 400, "digest_mismatch")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 422),
        (b"x" * 1001, {}, 413),
        (b"x", {"Content-Encoding": "gzip"}, 415),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 415),
        (b"x", {"Content-Digest": "sha-256=:?:"}, 400),
    ],
)
def test_parts_that_are_refused_leave_nothing(
    client: Http, app: FastAPI, settings: Settings, content: bytes, headers: dict[str, str], status: int
) -> None:
    limit(app, max_part_bytes=1000)
    upload = begin(client)
    check_problem(put(client, upload, 1, content, **headers), status)
    assert client.get(f"/v1/uploads/{upload}").json()["parts"] == []
    assert list((settings.data_folder / "tmp").glob("upload*")) == []


@pytest.mark.parametrize("number", ["0", "10001", "one", "-1"])
def test_numbers_of_parts_have_a_range(client: Http, number: str) -> None:
    check_problem(client.put(f"/v1/uploads/{begin(client)}/parts/{number}", content=b"x"), 422)


def test_a_file_may_not_be_larger_than_the_service_takes(client: Http, app: FastAPI) -> None:
    limit(app, max_upload_bytes=500)
    check_problem(client.post("/v1/uploads", json={"filename": "a.csv", "bytes": 501}), 413)
    upload = begin(client)
    assert put(client, upload, 1, PARTS[0]).status_code == 200
    check_problem(put(client, upload, 2, PARTS[1]), 413)
    assert put(client, upload, 1, PARTS[1]).status_code == 200, "the part that it replaces does not count"


def test_parts_count_toward_the_quota(client: Http) -> None:
    client.request("PATCH", "/v1/admin/projects", json={"project": "default", "quota_bytes": 500})
    upload = begin(client)
    assert put(client, upload, 1, PARTS[0]).status_code == 200
    check_problem(put(client, upload, 2, PARTS[1]), 507)
    assert client.get("/v1/storage").json()["project"]["uploads"] == {"count": 1, "bytes": len(PARTS[0])}
    client.delete(f"/v1/uploads/{upload}")
    assert put(client, begin(client), 1, PARTS[1]).status_code == 200


def test_of_two_parts_that_arrive_at_once_the_quota_takes_one(
    client: Http, services: Services, project_id: str, tmp_path: Path
) -> None:
    client.request("PATCH", "/v1/admin/projects", json={"project": "default", "quota_bytes": 500})
    upload, received = begin(client), []
    for number, content in enumerate(PARTS[:2], 1):
        path = tmp_path / str(number)
        path.write_bytes(content)
        received.append(ReceivedFile(path, sha256(content), len(content)))
        assert service.part_limit(services, project_id, upload, number).bytes == 500, "each alone has room"
    service.put_part(services, project_id, upload, 1, received[0])
    with pytest.raises(QuotaError):
        service.put_part(services, project_id, upload, 2, received[1])
    assert [part["number"] for part in client.get(f"/v1/uploads/{upload}").json()["parts"]] == [1]


def test_a_dataset_needs_a_complete_upload_of_its_project(client: Http, app: FastAPI, make_key: MakeKey) -> None:
    upload = sent(client, bytes=len(CSV), sha256=sha256(CSV))
    for wrong, words in ((upload, "not complete"), ("upl_0", "no upload")):
        problem = check_problem(client.post("/v1/datasets", json={"name": "sizes", "upload": wrong}), 422)
        assert words in problem["detail"]
        assert problem["errors"][0]["loc"] == ["body", "upload"]
    complete(client, upload)
    stranger = Http(app, make_key(project="another"))
    check_problem(stranger.post("/v1/datasets", json={"name": "sizes", "upload": upload}), 422)
    problem = check_problem(client.post("/v1/datasets", json={"name": "sizes", "upload": upload, "colums": {}}), 422)
    assert problem["errors"][0]["loc"] == ["body", "colums"]
    assert client.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "JSON"),
        (b'{"name": "a", "name": "b", "upload": "upl_0"}', 422, "'name' stands twice"),
        (b"[]", 422, "body"),
        (b" " * (64 << 10) + b"{}", 413, "larger than"),
    ],
)
def test_a_body_that_is_no_request_is_refused(client: Http, body: bytes, status: int, words: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert words in str(check_problem(client.post("/v1/datasets", content=body, headers=headers), status)["detail"])


def test_a_project_has_a_hundred_open_uploads_at_most(client: Http, database: Database, project_id: str) -> None:
    kept = begin(client)
    with database.writing() as session:
        for _ in range(service.MAX_OPEN - 1):
            repository.add(session, project_id, filename="a.csv", bytes=None, sha256=None)
    check_problem(client.post("/v1/uploads", json={"filename": "a.csv"}), 409, "too_many_uploads")
    put(client, kept, 1, CSV)
    complete(client, kept)
    begin(client)


def test_a_file_of_no_known_format_becomes_no_dataset(client: Http) -> None:
    upload = begin(client)
    put(client, upload, 1, b"\x7fELF" + bytes(100))
    complete(client, upload)
    check_problem(client.post("/v1/datasets", json={"name": "program", "upload": upload}), 415)


def test_garbage_collection_keeps_parts_until_the_upload_is_old(
    client: Http, settings: Settings, database: Database
) -> None:
    upload = sent(client)
    store = open_store(settings)

    def collect(**changed: float) -> int:
        of = settings.model_copy(update={"gc_grace_seconds": 0.0, **changed})
        for _ in range(3):  # to the trash, and out of it
            carry_out(plan(database, store, of), database, store, of)
        return len(list(store.entries()))

    assert collect() == 3
    complete(client, upload)
    assert collect() == 1, "the parts go, and the whole file stays"
    assert collect(upload_days=1e-9) == 0
    check_problem(client.get(f"/v1/uploads/{upload}"), 404)
