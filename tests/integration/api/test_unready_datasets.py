"""A dataset that cannot be read is refused with the same code and sentence at every route that names one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.dependencies import Services
from app.kit.ids import new_id
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs

GOOD = b"width,height,depth,size\n" + b"".join(b"%d,%d,1,%s\n" % (i, i, (b"large", b"small")[i % 2]) for i in range(40))
RAGGED = b"a,b\n1,2\n3\n"
FINE_TUNING = {"kind": "fine_tuning", "heads": [{"kind": "classifier", "target": "size"}]}
SPACE = {"seed": {"kind": "integer", "low": 0, "high": 9}}


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """One database will do: nothing here depends on it."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder)


def upload(client: Http, content: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/datasets", files={"file": ("a.csv", content)}, data={"name": "rows", **fields})


Ask = Callable[[Http, str, str], httpx.Response]


def post(path: str, **body: Any) -> Ask:
    """Ask with `dataset` in the body."""
    return lambda client, dataset, _: client.post(path, json={**body, "dataset": dataset})


def post_job(**body: Any) -> Ask:
    """Ask for a job whose body names the dataset as {dataset} and a ready one as {good}."""

    def fill(value: Any, names: dict[str, str]) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, names) for key, inner in value.items()}
        return names.get(value, value) if isinstance(value, str) else value

    return lambda client, dataset, good: client.post(
        "/v1/jobs", json=fill(body, {"{dataset}": dataset, "{good}": good})
    )


ROUTES: dict[str, Ask] = {
    "report": lambda client, dataset, _: client.get(f"/v1/datasets/{dataset}/report"),
    "rows": lambda client, dataset, _: client.get(f"/v1/datasets/{dataset}/rows"),
    "previews": lambda client, dataset, _: client.post(f"/v1/datasets/{dataset}/previews", json={"augmentations": []}),
    "leaks": lambda client, dataset, _: client.get(f"/v1/datasets/{dataset}/leaks"),
    "leaks against": lambda client, dataset, good: client.get(f"/v1/datasets/{good}/leaks?against={dataset}"),
    "same_splits_as": lambda client, dataset, _: upload(client, GOOD, same_splits_as=dataset),
    "versions": lambda client, dataset, good: client.post(
        f"/v1/datasets/{good}/versions", json={"options": {"same_splits_as": dataset}}
    ),
    "pretraining": post("/v1/jobs", kind="pretraining"),
    "fine_tuning": post("/v1/jobs", **FINE_TUNING),
    "evaluation": post("/v1/jobs", kind="evaluation", model="sizes"),
    "sweep": post_job(kind="sweep", base={**FINE_TUNING, "dataset": "{dataset}"}, space=SPACE),
    "estimate": post("/v1/jobs/estimate", kind="pretraining"),
    "recommendation": post("/v1/recommendations", target="size"),
}
AUXILIARY = post_job(kind="pretraining", dataset="{good}", watch={"dataset": "{dataset}", "target": "size"})


@pytest.mark.parametrize("status", ["missing", "preparing", "failed"])
def test_every_route_says_the_same(status: str, client: Http, services: Services, project_id: str) -> None:
    good = upload(client, GOOD).json()["id"]
    failed = upload(client, RAGGED).json()["id"]
    run_jobs(services.settings)
    preparing = upload(client, RAGGED).json()["id"]
    add_model(services, project_id, "sizes")
    dataset = {"missing": new_id("ds"), "preparing": preparing, "failed": failed}[status]
    expected = {
        "missing": (404, "dataset_not_found", "There is no such dataset in this project."),
        "preparing": (409, "dataset_not_ready", "This dataset is still being prepared; follow its job."),
        "failed": (409, "dataset_failed", "The preparation of this dataset failed; its `error` says why."),
    }[status]
    answers = {name: ask(client, dataset, good) for name, ask in ROUTES.items()}
    for answer in answers.values():
        check_problem(answer, *expected[:2])
    assert {name: answer.json()["detail"] for name, answer in answers.items()} == dict.fromkeys(ROUTES, expected[2])
    auxiliary = AUXILIARY(client, dataset, good)
    if status == "missing":  # the place in the request is said, as of every field that does not fit
        problem = check_problem(auxiliary, 422, "config_does_not_fit")
        assert "there is no such dataset in this project" in str(problem["detail"])
    else:
        check_problem(auxiliary, *expected[:2])
