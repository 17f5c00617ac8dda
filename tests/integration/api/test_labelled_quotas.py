"""Rows that Label Studio brings count toward the quota of a project, as uploads do."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import ProjectRow
from app.dependencies import Services
from app.settings import Settings
from tests.integration.api.test_label_studio import annotate, box, event, size_of
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.usefixtures("table")


@pytest.fixture
def table(services: Services, project_id: str) -> None:
    """A backbone without heads."""
    add_model(services, project_id, "boxes", heads=False)


def refused(answer: httpx.Response) -> str:
    """Check that an event was refused as an upload over the quota is, and return the sentence."""
    assert answer.status_code == 507, answer.text
    sentence = str(answer.json()["error"])  # as Label Studio's protocol writes problems
    assert "GET /v1/storage adds up what takes the space" in sentence
    return sentence


def limit(database: Database, **limits: int) -> None:
    with database.writing() as session:
        session.execute(update(ProjectRow).where(ProjectRow.name == "default").values(**limits))


def storage(client: Http) -> Any:
    return client.get("/v1/storage").json()


def test_labelled_rows_count_toward_the_quota_of_rows(client: Http, database: Database, settings: Settings) -> None:
    limit(database, quota_rows=26)
    upload = {"file": ("rows.csv", b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20)))}
    assert client.post("/v1/datasets", files=upload, data={"name": "rows"}).status_code == 202
    run_jobs(settings)
    answers = [annotate(client, number, box(number), [size_of(box(number))]) for number in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [507]
    assert "1 rows more than is left of the project's quota of 26" in refused(answers[-1])
    assert (storage(client)["quota"]["left_rows"], storage(client)["project"]["labelled_rows"]["count"]) == (0, 6)
    upload_refused = check_problem(
        client.post("/v1/datasets", files=upload, data={"name": "more"}), 507, "quota_exceeded"
    )
    assert "26 rows" in str(upload_refused["detail"])

    last = answers[5].json()
    assert (last["rows"], last["model_version"]) == (6, None)
    assert "used up its quota" in last["reason"], "the row is kept, and no version is made of it"
    refused(event(client, "boxes", "START_TRAINING"))

    corrected = annotate(client, 5, box(5), ["small"], action="ANNOTATION_UPDATED")
    assert corrected.status_code == 200, "a label that changes adds no row"
    assert event(client, "boxes", "TASKS_DELETED", tasks=[{"id": 0}]).status_code == 200
    assert annotate(client, 7, box(7), [size_of(box(7))]).status_code == 200, "what is deleted makes room"


def test_labelled_rows_count_toward_the_quota_of_bytes(client: Http, database: Database) -> None:
    annotate(client, 1, box(1), ["large"])
    kept = storage(client)["project"]
    size = kept["labelled_rows"]["bytes"]
    assert size == len(json.dumps({"input": box(1)["row"], "label": "large"}))
    used = sum(amount["bytes"] for amount in kept.values())
    limit(database, quota_bytes=used + size // 2)
    assert storage(client)["quota"]["left_bytes"] == size // 2
    refused(annotate(client, 2, box(2), ["large"]))
    more = {"row": box(1)["row"] | {"note": "x" * size}}
    refused(annotate(client, 1, more, ["large"]))
    assert annotate(client, 1, box(1), ["small"]).status_code == 200
    assert storage(client)["project"]["labelled_rows"] == {"count": 1, "bytes": size}
