"""POST /v1/heads with climb: a job goes on, and moves the alias only where its model is proven better."""

import json
from typing import Any

import numpy as np
import pytest

from app.db.session import Database
from app.db.tables import JobRow
from app.dependencies import Services
from app.jobs.interface import ExtendRequest
from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database


def boxes(count: int, *, product: bool) -> list[dict[str, Any]]:
    """Boxes whose class is the sign of the product of two sides, which no linear head can tell; or a coin's."""
    random = np.random.default_rng(0)
    rows = []
    for width, height, depth, coin in random.normal(size=(count, 4)).round(3).tolist():
        sign = width * height if product else coin
        rows.append({"width": width, "height": height, "depth": depth, "kind": "yes" if sign > 0 else "no"})
    return rows


@pytest.fixture
def backbone(services: Services, project_id: str) -> str:
    return str(add_model(services, project_id, "boxes", heads=False).id)


def upload(client: Http, settings: Settings, *, product: bool, count: int = 300) -> str:
    content = "\n".join(map(json.dumps, boxes(count, product=product))).encode()
    fields = {"name": "products" if product else "coins", "columns": '{"kind": "target"}'}
    answer = client.post("/v1/datasets", files={"file": ("boxes.jsonl", content)}, data=fields)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    return str(answer.json()["id"])


@pytest.fixture
def products(client: Http, settings: Settings, backbone: str) -> str:
    return upload(client, settings, product=True)


def climb(client: Http, dataset: str, **body: Any) -> Any:
    request = {"model": "boxes", "dataset": dataset, "name": "head", "climb": True, **body}
    answer = client.post("/v1/heads", json=request)
    assert answer.status_code == 201, answer.text
    return answer.json()


def alias_of(client: Http, alias: str = "best") -> Any:
    """The alias; None where there is none."""
    answer = client.get(f"/v1/models/head/aliases/{alias}")
    return answer.json() if answer.status_code == 200 else None


def history_of(client: Http, alias: str = "best") -> list[int | None]:
    """The versions that it meant, the oldest first."""
    changes = client.get(f"/v1/models/head/aliases/{alias}/history").json()["data"]
    return [change["version"] for change in changes][::-1]


def ended(client: Http, settings: Settings, answer: Any) -> Any:
    run_jobs(settings)
    job = client.get(f"/v1/jobs/{answer['climb']['job']}").json()
    assert job["status"] == "succeeded", job["error"]
    return job


def events_of(client: Http, job: Any) -> dict[str, Any]:
    events = client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["data"]
    return {event["type"]: event for event in events}


def test_the_alias_moves_to_a_model_that_is_proven_better(client: Http, settings: Settings, products: str) -> None:
    answer = climb(client, products)
    assert answer["climb"]["alias"] == "best"
    assert answer["climb"]["url"] == f"/v1/jobs/{answer['climb']['job']}"
    assert answer["aliases"] == ["best"]
    assert "best" in [decision["value"] for decision in answer["decisions"] if decision["field"] == "alias"]
    assert alias_of(client)["model"] == answer["id"], "the instant head answers by it at once"

    job = ended(client, settings, answer)
    (made,) = job["outputs"]
    outcome = job["metrics"]["climb"]
    assert outcome["moved"] is True
    assert outcome["instant_head"]["model"] == answer["id"]
    assert outcome["instant_head"]["score"] < 0.75 < outcome["winner"]["score"]
    gain = outcome["gain"]
    assert gain["difference"] == pytest.approx(outcome["winner"]["score"] - outcome["instant_head"]["score"], abs=1e-5)
    assert 0 < gain["low"] < gain["difference"] < gain["high"]
    moved = events_of(client, job)["alias.moved"]
    assert moved["data"] == outcome
    assert alias_of(client)["model"] == made["model"] == outcome["winner"]["model"]
    assert history_of(client) == [1, 2]
    rows = {"inputs": [[1.5, 1.2, 0.1], [1.5, -1.2, 0.1]]}
    answers = client.post("/v1/models/head@best/predictions", json=rows).json()["predictions"]
    assert [each["kind"]["class"] for each in answers] == ["yes", "no"]
    assert client.post("/v1/models/head/aliases/best/rollback").json()["model"] == answer["id"]


def test_the_alias_stays_where_nothing_is_proven_better(client: Http, settings: Settings, backbone: str) -> None:
    answer = climb(client, upload(client, settings, product=False), alias="production")
    job = ended(client, settings, answer)
    outcome = job["metrics"]["climb"]
    assert outcome["moved"] is False
    assert outcome["gain"]["low"] <= 0
    assert "not above 0" in outcome["reason"]
    assert events_of(client, job)["alias.stays"]["data"] == outcome
    assert alias_of(client, "production")["model"] == answer["id"]
    assert history_of(client, "production") == [1]
    loser = client.get("/v1/models/head@2").json()
    assert (loser["job"], loser["dataset"], loser["name"]) == (job["id"], answer["dataset"], "head")
    from_model = loser["backbone"] == answer["backbone"]
    assert loser["parent"] == (answer["parent"] if from_model else None)


@pytest.mark.parametrize("change", ["moved", "moved and back", "deleted", "made anew", "model deleted"])
def test_an_alias_that_somebody_has_changed_meanwhile_stays_so(
    client: Http, settings: Settings, products: str, change: str
) -> None:
    answer = climb(client, products)
    other = client.post("/v1/heads", json={"model": "boxes", "dataset": products, "name": "head"}).json()
    path = "/v1/models/head/aliases/best"
    if "moved" in change:
        assert client.put(path, json={"model": other["id"]}).status_code == 200
    if change == "moved and back":
        assert client.post(f"{path}/rollback").status_code == 200
    if change in ("deleted", "made anew"):
        assert client.delete(path).status_code == 204
    if change == "made anew":
        assert client.put(path, json={"model": answer["id"]}).status_code == 200
    if change == "model deleted":
        assert client.delete(f"/v1/models/{answer['id']}").status_code == 204
    before = (alias_of(client), history_of(client))

    outcome = ended(client, settings, answer)["metrics"]["climb"]
    assert outcome["gain"]["low"] > 0, "it would have been moved"
    assert outcome["moved"] is False
    assert ("deleted" if change in ("deleted", "model deleted") else "changed") in outcome["reason"]
    assert (alias_of(client), history_of(client)) == before


def test_a_cancelled_job_moves_nothing(client: Http, settings: Settings, products: str) -> None:
    answer = climb(client, products)
    assert client.post(f"/v1/jobs/{answer['climb']['job']}/cancel").status_code in (200, 202)
    run_jobs(settings)
    assert client.get(f"/v1/jobs/{answer['climb']['job']}").json()["status"] == "cancelled"
    assert alias_of(client)["model"] == answer["id"]
    assert history_of(client) == [1]


def test_a_job_that_trains_on_where_one_climbed_moves_nothing(client: Http, database: Database, products: str) -> None:
    answer = climb(client, products)
    with database.reading() as session:
        config = session.get_one(JobRow, answer["climb"]["job"]).config
    assert config["climb"]["model"] == answer["id"]
    assert "climb" not in FineTuningRequest.extended(config, ExtendRequest(epochs=1))


def test_a_repeated_request_climbs_once(client: Http, database: Database, products: str) -> None:
    body = {"model": "boxes", "dataset": products, "name": "head", "climb": True}
    answers = [client.post("/v1/heads", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    with database.reading() as session:
        jobs = [row for row in session.query(JobRow) if row.kind == "fine_tuning"]
    assert [job.id for job in jobs] == [answers[0].json()["climb"]["job"]]
    assert history_of(client) == [1]


def test_the_default_alias_is_taken_from_no_other_version(client: Http, products: str) -> None:
    first = climb(client, products)
    body = {"model": "boxes", "dataset": products, "name": "head", "climb": True}
    refusal = check_problem(client.post("/v1/heads", json=body), 409)
    assert refusal["code"] == "alias_taken"
    assert alias_of(client)["model"] == first["id"]
    assert client.get("/v1/models/head").json()["version"] == 1, "what is refused leaves nothing"
    named = climb(client, products, alias="best")
    assert alias_of(client)["model"] == named["id"]
    (decision,) = [decision for decision in named["decisions"] if decision["field"] == "alias"]
    assert "rollback" in decision["reason"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rows": [[1, 2, 3], [3, 2, 1]], "labels": ["a", "b"]}, "POST /v1/datasets"),
        ({"dataset": "products", "climb": False, "alias": "best"}, "climb: true"),
        ({"dataset": "products", "alias": "7"}, "digits alone"),
        (
            {
                "dataset": "products",
                "heads": [{"kind": "classifier", "target": "kind", "estimator": {"kind": "random_forest"}}],
            },
            "climb",
        ),
    ],
)
def test_what_cannot_climb_is_refused_with_the_remedy(
    client: Http, products: str, body: dict[str, Any], words: str
) -> None:
    refusal = check_problem(
        client.post("/v1/heads", json={"model": "boxes", "name": "head", "climb": True, **body}), 422
    )
    assert words in str(refusal)
    check_problem(client.get("/v1/models/head"), 404)


def test_a_model_that_has_learned_these_labels_is_refused(client: Http, settings: Settings, products: str) -> None:
    body = {"kind": "fine_tuning", "dataset": products, "model": "boxes", "name": "taught", "training": {"epochs": 1}}
    body = {**body, "heads": [{"kind": "classifier", "target": "kind"}], "strategy": {"kind": "full"}}
    assert client.post("/v1/jobs", json=body).status_code == 202
    run_jobs(settings)
    request = {"model": "taught", "dataset": products, "name": "head", "climb": True}
    refusal = check_problem(client.post("/v1/heads", json=request), 422)
    assert "taught@1" in str(refusal["detail"])
    check_problem(client.get("/v1/models/head"), 404)


@pytest.mark.parametrize("role", ["group", "time"])
def test_rows_that_belong_together_are_refused(client: Http, settings: Settings, backbone: str, role: str) -> None:
    rows = [{**row, "other": f"2026-01-{index % 28 + 1:02}"} for index, row in enumerate(boxes(100, product=True))]
    fields = {"name": "related", "columns": json.dumps({"kind": "target", "other": role})}
    content = "\n".join(map(json.dumps, rows)).encode()
    assert client.post("/v1/datasets", files={"file": ("rows.jsonl", content)}, data=fields).status_code == 202
    run_jobs(settings)
    request = {"model": "boxes", "dataset": "related", "name": "head", "climb": True}
    refusal = check_problem(client.post("/v1/heads", json=request), 422)
    assert f"by {role}" in str(refusal["detail"])
    assert "evaluation" in str(refusal["detail"])


def test_a_project_with_too_many_jobs_is_told_so(client: Http, services: Services, products: str) -> None:
    services.settings.__dict__["max_queued_jobs"] = 1
    climb(client, products)
    body = {"model": "boxes", "dataset": products, "name": "head", "climb": True, "alias": "next"}
    assert check_problem(client.post("/v1/heads", json=body), 429)["code"] == "too_many_jobs"


def test_only_keys_that_may_write_climb(client: Http, products: str, make_key: MakeKey) -> None:
    headers = {"Authorization": f"Bearer {make_key(scopes=('read', 'predict'))}"}
    body = {"model": "boxes", "dataset": products, "climb": True}
    check_problem(client.post("/v1/heads", json=body, headers=headers), 403)
