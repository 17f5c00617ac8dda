"""Quotas of disk and rows by project: refused before an upload is read, and what jobs make counts, too."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import ProjectRow
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.weights import send_weights
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(40))


def limit(database: Database, name: str = "default", **limits: int) -> None:
    with database.writing() as session:
        session.execute(update(ProjectRow).where(ProjectRow.name == name).values(**limits))


def upload(client: Http, content: bytes = CSV, name: str = "rows") -> Any:
    return client.post("/v1/datasets", files={"file": ("rows.csv", content)}, data={"name": name})


def left(client: Http) -> int:
    return int(client.get("/v1/storage").json()["quota"]["left_bytes"])


def pretraining(client: Http, dataset: str) -> Any:
    return client.post("/v1/jobs", json={"kind": "pretraining", "dataset": dataset, "training": {"steps": 2}})


def read_for(app: FastAPI, key: str, *, length: int | None) -> tuple[int, int]:
    """Send an endless form, of an announced length or in chunks; returns the status and how many bytes were read."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    chunks, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": head if chunks == 1 else b"x" * 1000, "more_body": True}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = {"host": "127.0.0.1", "authorization": f"Bearer {key}", "content-type": "multipart/form-data; boundary=b"}
    headers |= {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    scope = {"type": "http", "method": "POST", "path": "/v1/datasets", "raw_path": b"/v1/datasets"}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "", "client": None}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    scope |= {"server": ("127.0.0.1", 80), "asgi": {"version": "3.0"}}
    asyncio.run(app(scope, receive, send))
    return statuses[0], chunks


def test_an_upload_over_the_quota_is_refused_before_it_is_read(app: FastAPI, database: Database, key: str) -> None:
    limit(database, quota_bytes=5000)
    assert read_for(app, key, length=1 << 20) == (507, 0)
    status, chunks = read_for(app, key, length=None)
    assert status == 507
    assert chunks <= 7, "cut once more than is left has come"


def test_the_refusal_says_what_is_left_and_what_to_do(client: Http, database: Database) -> None:
    assert client.get("/v1/storage").json()["quota"] == dict.fromkeys(("bytes", "left_bytes", "rows", "left_rows"))
    limit(database, quota_bytes=500)
    problem = check_problem(upload(client, CSV * 20), 507, "quota_exceeded")
    assert "500 bytes that are left of the project's quota" in problem["detail"]
    assert "Delete datasets" in problem["detail"]
    assert client.get("/v1/datasets").json()["data"] == []
    assert left(client) == 500


def test_a_project_that_is_full_may_add_nothing_until_it_deletes(
    app: FastAPI, client: Http, database: Database, settings: Settings, make_key: MakeKey
) -> None:
    dataset = upload(client).json()["id"]
    run_jobs(settings)
    used = client.get("/v1/storage").json()["project"]["datasets"]["bytes"]
    limit(database, quota_bytes=used)
    assert left(client) == 0
    for answer in (
        upload(client, b"x" + CSV),
        pretraining(client, dataset),
        send_weights(client, name="weights"),
        client.post(f"/v1/datasets/{dataset}/versions", json={}),
    ):
        check_problem(answer, 507, "quota_exceeded")
    assert upload(Http(app, make_key(project="other"))).status_code == 202, "another project has its own"
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert left(client) == used, "what is deleted makes room at once"
    assert upload(client, name="again").status_code == 202


def test_deleted_files_never_take_more_than_the_quota_once_more(client: Http, database: Database) -> None:
    limit(database, quota_bytes=3 * len(CSV))
    answers = []
    for number in range(20):
        answer = upload(client, b"x%d\n" % number + CSV)
        answers.append(answer.status_code)
        if answer.status_code == 202:
            client.post(f"/v1/jobs/{answer.json()['job']}/cancel")
            assert client.delete(f"/v1/datasets/{answer.json()['id']}").status_code == 204
    assert answers[:3] == [202, 202, 202]
    assert answers[-1] == 507


def test_a_job_that_would_exceed_the_quota_fails_and_says_what_to_do(
    client: Http, database: Database, settings: Settings
) -> None:
    dataset = upload(client).json()["id"]
    run_jobs(settings)
    job = pretraining(client, dataset).json()["id"]
    limit(database, quota_bytes=client.get("/v1/storage").json()["project"]["datasets"]["bytes"] + 100)
    run_jobs(settings)
    failed = client.get(f"/v1/jobs/{job}").json()
    assert (failed["status"], failed["outputs"]) == ("failed", [])
    assert (failed["error"]["code"], failed["error"]["category"]) == ("quota_exceeded", "user")
    assert "Delete datasets" in failed["error"]["message"]
    assert left(client) == 100
    limit(database, quota_bytes=1 << 30)
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 202
    run_jobs(settings)
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded"


def test_rows_have_a_quota_of_their_own(client: Http, database: Database, settings: Settings) -> None:
    limit(database, quota_rows=50)
    first, second = upload(client).json()["id"], upload(client, CSV + b"900,1\n").json()["id"]
    run_jobs(settings)
    datasets = [client.get(f"/v1/datasets/{dataset}").json() for dataset in (first, second)]
    assert [dataset["status"] for dataset in datasets] == ["ready", "failed"]
    assert datasets[1]["error"]["code"] == "quota_exceeded"
    assert client.get("/v1/storage").json()["quota"]["left_rows"] == 10
    limit(database, quota_rows=40)
    check_problem(upload(client), 507, "quota_exceeded")
