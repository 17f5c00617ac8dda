"""Lists: what they leave out, what they are filtered by, and datasets and models that are meant by name."""

import time
from typing import Any
from unicodedata import normalize

import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import DatasetRow, JobRow
from app.dependencies import Services
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(40))


def upload(client: Http, name: str, content: bytes = CSV) -> str:
    form = {"name": name, "columns": '{"b": "target"}'}
    answer = client.post("/v1/datasets", files={"file": ("a.csv", content)}, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def pretraining(client: Http, dataset: str, **fields: Any) -> dict[str, Any]:
    body = {"kind": "pretraining", "dataset": dataset, "training": {"epochs": 1}, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ids(client: Http, path: str, **params: Any) -> list[str]:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


# ---- summaries ------------------------------------------------------------------------------------------------------


def test_lists_leave_out_what_may_be_large_unless_it_is_asked_for(
    client: Http, services: Services, settings: Settings, project_id: str
) -> None:
    upload(client, "rows")
    add_model(services, project_id, "sizes")
    run_jobs(settings)
    left_out = {
        "datasets": {"columns", "targets", "decisions"},
        "models": {"backbone", "heads", "method", "labels", "watch", "strategy", "decisions", "metrics"}
        | {"files", "published"},
        "jobs": {"config", "metrics"},
    }
    for name, fields in left_out.items():
        (summary,) = client.get(f"/v1/{name}").json()["data"]
        (full,) = client.get(f"/v1/{name}?view=full").json()["data"]
        alone = client.get(full["links"]["self"]).json()
        if name == "models":
            assert alone.pop("signature") is not None
            assert full.pop("signature") is None  # a table may have a thousand columns
            summary.pop("signature", None)
        assert full == alone
        assert set(full) - set(summary) == fields
        assert summary == {field: full[field] for field in summary}
        check_problem(client.get(f"/v1/{name}?view=long"), 422)


# ---- filters of jobs ------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(client: Http, settings: Settings) -> str:
    dataset = upload(client, "rows")
    run_jobs(settings)
    return dataset


def test_jobs_are_filtered_by_name_and_metadata(client: Http, rows: str) -> None:
    first = pretraining(client, rows, name="root", metadata={"team": "a:b", "run": "1"})["id"]
    second = pretraining(client, rows, name="root", metadata={"team": "a:b", "run": "2"})["id"]
    odd = pretraining(client, rows, name="other", metadata={"$.team": "x", "1": "2", "мера": "длина"})["id"]
    assert ids(client, "/v1/jobs", name="root") == [second, first]
    assert ids(client, "/v1/jobs", metadata="team:a:b") == [second, first]
    assert ids(client, "/v1/jobs", metadata=["team:a:b", "run:1"]) == [first]
    assert ids(client, "/v1/jobs", metadata="team:a") == []
    assert ids(client, "/v1/jobs", metadata=["1:2", "$.team:x"]) == [odd]
    assert ids(client, "/v1/jobs", metadata="мера:длина") == [odd]
    assert ids(client, "/v1/jobs", metadata="team:") == []
    for wrong in ("team", ":x"):
        check_problem(client.get("/v1/jobs", params={"metadata": wrong}), 422)
    check_problem(client.get("/v1/jobs", params={"metadata": ["run:1", "run:2"]}), 422)


def test_jobs_are_filtered_by_dataset_by_id_or_name(client: Http, settings: Settings, rows: str) -> None:
    other = upload(client, "rows", CSV + b"99,1\n")
    third = upload(client, "third")
    run_jobs(settings)
    on_rows, on_other = (pretraining(client, dataset)["id"] for dataset in (rows, other))
    pretraining(client, third)
    of = {"kind": "pretraining"}
    assert ids(client, "/v1/jobs", dataset=rows, **of) == [on_rows]
    assert ids(client, "/v1/jobs", dataset="rows", **of) == [on_other, on_rows]
    check_problem(client.get("/v1/jobs?dataset=nothing"), 404, "dataset_not_found")


def test_jobs_are_filtered_by_the_time_of_their_creation(client: Http, database: Database, rows: str) -> None:
    first, second = (pretraining(client, rows)["id"] for _ in range(2))
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == first).values(created_at=1_700_000_000.0))
    of = {"kind": "pretraining"}
    assert ids(client, "/v1/jobs", created_before="2024-01-01", **of) == [first]
    assert ids(client, "/v1/jobs", created_after="2024-01-01T00:00:00Z", **of) == [second]
    assert ids(client, "/v1/jobs", created_after="2023-11-14T22:13:20+00:00", **of) == [second, first]
    assert ids(client, "/v1/jobs", created_before="2023-11-14T23:13:20+01:00", **of) == []
    assert ids(client, "/v1/jobs", created_before=time.time() + 5, **of) == [second, first]
    check_problem(client.get("/v1/jobs?created_after=yesterday"), 422)


# ---- datasets by name -----------------------------------------------------------------------------------------------


def test_a_dataset_is_meant_by_name_wherever_it_is_named(client: Http, settings: Settings, rows: str) -> None:
    newer = upload(client, "rows", CSV + b"99,1\n")
    assert client.get("/v1/datasets/rows").json()["id"] == rows  # the newer one is not ready
    run_jobs(settings)
    assert client.get("/v1/datasets/rows").json()["id"] == newer
    for path in ("report", "rows", "leaks", f"leaks?against={rows}"):
        assert client.get(f"/v1/datasets/rows/{path}").status_code == 200, path
    assert client.get(f"/v1/datasets/{newer}/leaks?against=rows").json()["against"] == newer
    job = pretraining(client, "rows", watch={"target": "b", "dataset": "rows"})
    assert (job["dataset"], job["config"]["watch"]["dataset"]) == (newer, newer)
    (decision,) = [item for item in job["config"]["decisions"] if item["field"] == "dataset"]
    assert (decision["value"], "'rows'" in decision["reason"]) == (newer, True)
    body = {"base": {"kind": "pretraining", "dataset": "rows"}, "space": {"training.batch_size": [8, 16]}}
    space = {"training.batch_size": {"kind": "choice", "values": [8, 16]}}
    sweep = client.post("/v1/jobs", json={"kind": "sweep", **body, "space": space})
    assert sweep.status_code == 202, sweep.text
    assert sweep.json()["config"]["base"]["dataset"] == newer  # later trials read it too, whatever the name means then
    version = client.post("/v1/datasets/rows/versions", json={"options": {"same_splits_as": "rows"}}).json()
    again = client.post("/v1/datasets/rows/versions", json={"name": "x", "options": {"same_splits_as": "rows"}})
    assert (again.status_code, version["name"]) == (202, "rows")
    check_problem(client.get("/v1/datasets/nothing"), 404, "dataset_not_found")
    check_problem(client.post("/v1/jobs", json={"kind": "pretraining", "dataset": "nothing"}), 404, "dataset_not_found")


def test_a_dataset_that_is_not_ready_says_so_by_its_name(client: Http) -> None:
    upload(client, "rows")
    refused = client.post("/v1/jobs", json={"kind": "pretraining", "dataset": "rows"})
    check_problem(refused, 409, "dataset_not_ready")


def test_a_dataset_is_deleted_by_its_id_alone(client: Http, settings: Settings, rows: str) -> None:
    assert rows in check_problem(client.delete("/v1/datasets/rows"), 409, "which_dataset")["detail"]
    assert client.delete(f"/v1/datasets/{rows}").status_code == 204
    check_problem(client.delete("/v1/datasets/rows"), 404, "dataset_not_found")
    looks_like_an_id = {"files": {"file": ("a.csv", CSV)}, "data": {"name": rows}}
    check_problem(client.post("/v1/datasets", **looks_like_an_id), 422)
    assert run_jobs(settings) == 0


def test_names_are_of_any_script(client: Http, settings: Settings, services: Services, project_id: str) -> None:
    dataset = upload(client, normalize("NFD", "Рыбы Йоркшира"))
    run_jobs(settings)
    for form in ("NFC", "NFD"):
        name = normalize(form, "Рыбы Йоркшира")  # type: ignore[arg-type]
        assert client.get(f"/v1/datasets/{name}").json()["id"] == dataset
        assert ids(client, "/v1/datasets", name=name) == [dataset]
    model = add_model(services, project_id, "рыбы")
    assert client.put("/v1/models/рыбы/aliases/лучшая", json={"model": "рыбы@1"}).status_code == 200
    assert client.get("/v1/models/рыбы@лучшая").json()["id"] == model.id
    assert ids(client, "/v1/models", name="рыбы") == [model.id]
    assert pretraining(client, dataset, name="мой")["name"] == "мой"


# ---- default names of models ----------------------------------------------------------------------------------------


def test_two_datasets_never_share_a_default_name_of_models(
    client: Http, settings: Settings, database: Database
) -> None:
    names = ["рыбы", "птицы", "a b", "a-b", "a b", "🙂", "!!!", "x" * 80 + "1", "x" * 80 + "2"]
    datasets = [upload(client, name) for name in names]
    run_jobs(settings)
    given = [pretraining(client, dataset)["name"] for dataset in datasets]
    assert given[:3] == ["рыбы-pretraining", "птицы-pretraining", "a-b-pretraining"]
    assert len(set(given)) == len(names)
    assert given == [pretraining(client, dataset)["name"] for dataset in datasets]
    with database.writing() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == datasets[2]).values(deleted_at=1.0))
    assert pretraining(client, datasets[3])["name"] == given[3]
