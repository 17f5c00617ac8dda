"""A data folder of an earlier release, opened by the code of today: read, served, and trained on.

`tests/support/release.py` makes such folders, and says what is in them.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.migrate import migrate
from app.db.session import Database
from app.settings import Settings
from tests.support.http import Http
from tests.support.release import ANSWERS, DATA, KEY, LABEL, LISTS, PROBE, SIZE, TRAINING, ids, kept_files
from tests.support.weights import send_weights
from tests.support.work import run_jobs

FOLDER = Path(__file__).parents[1] / "data"
RELEASES = sorted(path.name for path in FOLDER.glob("release_*.tar.gz"))
TOLERANCE = 1e-4


@pytest.fixture(params=RELEASES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what the release left."""
    with tarfile.open(FOLDER / request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def recorded(folder: Path) -> dict[str, Any]:
    """What the release answered."""
    answers: dict[str, Any] = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
    return answers


@pytest.fixture
def settings(folder: Path) -> Settings:
    """The folder's embedded database and local artifacts."""
    return Settings(data=folder / DATA)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The folder's database, brought to the tables of today."""
    database = Database(settings.sql_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def key(database: Database) -> str:
    """A key that the release made."""
    return KEY


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Where an answer is not what it was; it may have fields that it had not."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            if name in now:
                yield from differences(value, now[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is missing"
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (value, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(value, other, f"{path}[{number}]")
    elif isinstance(before, float) and isinstance(now, float):
        if now != pytest.approx(before, rel=TOLERANCE, abs=TOLERANCE):
            yield f"{path}: {before} is now {now}"
    elif before != now:
        yield f"{path}: {before!r} is now {now!r}"


def named(client: Http, kind: str, name: str) -> dict[str, Any]:
    """The oldest dataset, job or model of a name."""
    items = client.get(f"/v1/{kind}?limit=200&view=full&order=asc").json()["data"]
    item: dict[str, Any] = next(item for item in items if item["name"] == name)
    return item


def finished(client: Http, settings: Settings, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask for a job, run it to its good end, and return it."""
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job: dict[str, Any] = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["status"] == "succeeded", job["error"]
    return job


def all_rows(client: Http, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a dataset."""
    count = sum(dataset["rows"].values())
    pages = (client.get(f"/v1/datasets/{dataset['id']}/rows?limit=100&offset={k}") for k in range(0, count, 100))
    return [row for page in pages for row in page.json()["data"]]


def began_at(client: Http, job: str) -> list[int]:
    """The steps at which the trainings of a job began."""
    events = client.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    return [event["data"]["step"] for event in events if event["type"] == "job.running"]


def test_there_is_a_folder_of_a_release() -> None:
    assert RELEASES


def test_everything_is_answered_as_before(client: Http, recorded: dict[str, Any]) -> None:
    assert {url: ids(client, url) for url in LISTS} == recorded["lists"]
    changed = []
    for url, before in recorded["get"].items():
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        changed += [f"{url} {difference}" for difference in differences(before, answer.json())]
    assert changed == []


def test_every_model_answers_what_it_answered(client: Http, recorded: dict[str, Any]) -> None:
    changed = []
    for question in recorded["post"]:
        answer = client.post(question["url"], json=question["body"])
        assert answer.status_code == 200, answer.text
        changed += [f"{question['url']} {each}" for each in differences(question["answer"], answer.json())]
    assert changed == []


def test_garbage_collection_keeps_what_it_kept(client: Http, settings: Settings, recorded: dict[str, Any]) -> None:
    assert recorded["kept"]
    assert kept_files(settings) == recorded["kept"]


def test_begun_jobs_go_on_from_their_checkpoints(client: Http, settings: Settings) -> None:
    jobs = {name: named(client, "jobs", name) for name in ("undisturbed", "queued", "paused", "cancelled")}
    for name, act in (("paused", "resume"), ("cancelled", "retry")):
        answer = client.post(f"/v1/jobs/{jobs[name]['id']}/{act}")
        assert answer.status_code == 202, answer.text
    assert run_jobs(settings) == 3
    for name in ("queued", "paused", "cancelled"):
        job = client.get(f"/v1/jobs/{jobs[name]['id']}").json()
        assert job["status"] == "succeeded", job["error"]
        assert began_at(client, job["id"]) == [0, 1, 2]
        assert list(differences(jobs["undisturbed"]["metrics"], job["metrics"])) == []


@pytest.mark.parametrize("name", ["shapes", "cars", "waves", "words", "views", "wave", "writer", "fresh-car"])
def test_a_training_is_extended(client: Http, settings: Settings, name: str) -> None:
    """Each modality and method, and fine-tunings."""
    run_jobs(settings)  # the one that was left in the queue
    model = named(client, "models", name)
    job = finished(client, settings, f"/v1/jobs/{model['job']}/extend", {"steps": 2})
    assert began_at(client, job["id"]) == [TRAINING["steps"]]
    assert named(client, "models", name)["id"] == model["id"]
    (output,) = job["outputs"]
    assert client.get(f"/v1/models/{output['model']}").json()["version"] > 1


@pytest.mark.parametrize(
    ("dataset", "model", "heads", "strategy"),
    [
        ("images.npz", "shapes", [LABEL], PROBE),
        ("table.csv", "cars", [LABEL, SIZE], {"kind": "full"}),
        ("series.csv", "waves", [LABEL], {"kind": "full"}),
        ("texts.jsonl", "small", [LABEL], {"kind": "full"}),
        ("texts.jsonl", "words", [{"kind": "generator"}], {"kind": "full"}),
    ],
)
def test_a_pretrained_model_is_fine_tuned_on_a_dataset(
    client: Http, settings: Settings, dataset: str, model: str, heads: list[dict[str, Any]], strategy: dict[str, Any]
) -> None:
    data = named(client, "datasets", dataset)["id"]
    body = {"kind": "fine_tuning", "dataset": data, "model": model, "heads": heads, "strategy": strategy}
    job = finished(client, settings, "/v1/jobs", {**body, "name": "tuned", "training": TRAINING})
    assert {head["kind"] for head in client.get("/v1/models/tuned").json()["heads"]} == {head["kind"] for head in heads}
    relatives = client.get("/v1/models/tuned/lineage").json()
    assert [ancestor["name"] for ancestor in relatives["ancestors"]] == [model]
    assert job["model"] == relatives["ancestors"][0]["id"]


def test_a_model_is_evaluated_with_the_result_of_then(client: Http, settings: Settings) -> None:
    (before,) = client.get("/v1/jobs?kind=evaluation&view=full").json()["data"]
    body = {name: before["config"][name] for name in ("model", "baseline", "split")}
    job = finished(client, settings, "/v1/jobs", {"kind": "evaluation", "dataset": before["dataset"], **body})
    assert list(differences(before["metrics"], job["metrics"])) == []


def test_backbones_are_recommended_as_before(client: Http, settings: Settings) -> None:
    (before,) = client.get("/v1/jobs?kind=recommendation&view=full").json()["data"]
    models = [candidate["model"] for candidate in before["config"]["candidates"]]
    body = {"dataset": before["dataset"], "target": before["config"]["target"], "models": models, "rows": 50}
    job = finished(client, settings, "/v1/recommendations", body)
    ranked = [[(row["name"], row["score"]) for row in each["metrics"]["ranking"]] for each in (before, job)]
    assert list(differences(*ranked)) == []


def test_a_dataset_is_prepared_anew(client: Http, settings: Settings) -> None:
    dataset = named(client, "datasets", "texts.jsonl")
    answer = client.post(f"/v1/datasets/{dataset['id']}/versions", json={"name": "again"})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    again = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert again["status"] == "ready", again["error"]
    assert again["rows"] == dataset["rows"]


def test_rows_of_a_table_are_known_again_in_another_file(client: Http, settings: Settings) -> None:
    """Then digests were of float32; the same rows, sent anew, keep their splits."""
    old = named(client, "datasets", "table.csv")
    rows = all_rows(client, old)
    cells = [{**row["input"], **row["targets"]} for row in rows]
    lines = [",".join(cells[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in cells)]
    form = {"name": "again", "same_splits_as": old["id"], "columns": json.dumps({"label": "target", "size": "target"})}
    answer = client.post("/v1/datasets", files={"file": ("again.csv", "\n".join(lines).encode())}, data=form)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    again = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    assert again["status"] == "ready", again["error"]
    assert [row["split"] for row in all_rows(client, again)] == [row["split"] for row in rows]
    report = client.get(f"/v1/datasets/{again['id']}/report").json()
    (decision,) = (item for item in report["decisions"] if item["field"] == "splits")
    assert decision["reason"].startswith(f"{len(rows)} of {len(rows)} rows"), decision
    shared = client.get(f"/v1/datasets/{again['id']}/leaks?against={old['id']}").json()["counts"]
    assert sum(count["rows"] for count in shared if count["kind"] == "exact") == len(rows)


def test_a_repeated_request_gets_the_answer_of_then(client: Http) -> None:
    model = named(client, "models", "small")
    answer = send_weights(client, headers={"Idempotency-Key": "an-import"}, name="small")
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == model["id"]
