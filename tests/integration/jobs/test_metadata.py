"""Jobs are found by entries of their metadata, whatever characters these hold, on both databases."""

import pytest
from fastapi import FastAPI
from sqlalchemy import insert, text

from app.db.session import Database
from app.db.tables import JobRow
from app.settings import Settings
from tests.support.http import Http
from tests.support.plans import plans
from tests.support.rows import own_project
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(40))
METADATA = {"a'b": 'c"d', 'e"f': "g:h", "i:j": "\u00e9", "$.k": "%", "back\\slash": "x"}


def test_entries_of_any_characters_are_found(client: Http, settings: Settings) -> None:
    upload = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "rows"})
    run_jobs(settings)
    body = {"kind": "pretraining", "dataset": upload.json()["id"]}
    first, other = (client.post("/v1/jobs", json={**body, "metadata": data}).json() for data in (METADATA, {"a": "b"}))
    assert first["metadata"] == METADATA
    for key, value in METADATA.items():
        found = client.get("/v1/jobs", params={"metadata": f"{key}:{value}"})
        assert [job["id"] for job in found.json()["data"]] == [first["id"]], (key, found.text)
    both = client.get("/v1/jobs", params={"metadata": [f"{key}:{value}" for key, value in METADATA.items()]})
    assert [job["id"] for job in both.json()["data"]] == [first["id"]]
    assert [job["id"] for job in client.get("/v1/jobs?metadata=a:b").json()["data"]] == [other["id"]]


@pytest.mark.one_database("postgresql")
def test_few_jobs_of_many_are_found_by_an_index(client: Http, app: FastAPI, database: Database) -> None:
    fixed = {"kind": "pretraining", "status": "failed", "config": {}, "created_at": 1.0, "queued_at": 1.0}
    with database.writing() as session:
        own = {"project_id": own_project(session).id, **fixed}
        rows = [{**own, "id": f"job_{n:032x}", "job_metadata": {"team": f"t{n % 500}"}} for n in range(20_000)]
        session.execute(insert(JobRow), rows)
        session.execute(text("ANALYZE jobs"))
    with plans(app.state.services.database.engine) as asked:
        answers = [client.get(f"/v1/jobs?metadata=team:{team}&limit=100").json()["data"] for team in ("nobody", "t7")]
    assert list(map(len, answers)) == [0, 40]
    ((_, plan),) = [(statement, plan) for statement, plan in asked.items() if "@>" in statement]
    assert any("ix_jobs_metadata" in line for line in plan), plan
