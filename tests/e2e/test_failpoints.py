"""A process killed at every place that has a name: nothing is lost, nothing done twice, the weights are the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import failpoints
from graftwork import Graftwork
from tests.support.jobs import weights
from tests.support.servers import Service

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
TRAINING = {"steps": 60, "batch_size": 32, "checkpoint_steps": 20, "seed": 3}
FAST = {"submit.committed", "claim.committed", "checkpoint.stored", "finish.before_commit"}
STARTING = {"migration.begun"}  # no service is there yet
# Come to by who has webhooks, and who uploads in parts: test_webhooks and test_storage.
ELSEWHERE = {"webhook.sent", "upload.part_stored", "upload.assembled"}
AFTER = {"cleanup.begun": ("training.step",)}  # places that are come to after a death alone, and what it is
PLACES = [
    pytest.param(place, marks=[] if place in FAST else [pytest.mark.slow])
    for place in sorted(failpoints.PLACES.keys() - STARTING - ELSEWHERE)
]


def run_job(graftwork: Graftwork, digits: Digits) -> tuple[str, str]:
    """Upload and train as a client does, which repeats what was not answered; return the weights and the job."""
    dataset = graftwork.datasets.create({"x": digits[0][:300]}, name="digits")
    job = graftwork.jobs.create(
        kind="pretraining", dataset=dataset["id"], backbone={"kind": "mlp", "hidden": [16]}, training=TRAINING
    )
    return weights(graftwork, job["id"]), job["id"]


@pytest.fixture(scope="module")
def undisturbed(shared: Service, digits: Digits) -> str:
    with shared.client() as graftwork:
        return run_job(graftwork, digits)[0]


def everything(graftwork: Graftwork) -> list[set[str]]:
    """The ids of all jobs, datasets and models."""
    lists = (graftwork.jobs.list(), graftwork.datasets.list(), graftwork.models.list())
    return [{row["id"] for row in rows} for rows in lists]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_changes_nothing(
    running: Service, graftwork: Graftwork, undisturbed: str, digits: Digits, place: str
) -> None:
    before = everything(graftwork)
    running.arm(place, *AFTER.get(place, ()))
    weights_after_kill, job = run_job(graftwork, digits)
    assert running.acted(place), "nobody came to this place"
    assert weights_after_kill == undisturbed
    jobs, datasets, models = (now - then for now, then in zip(everything(graftwork), before, strict=True))
    assert (len(datasets), len(models)) == (1, 1)
    rows = [graftwork.jobs.get(row) for row in jobs]
    assert [row["id"] for row in rows if row["kind"] == "pretraining"] == [job]
    for row in rows:
        assert row["status"] == "succeeded"
        numbers = [event["seq"] for event in graftwork.jobs.events(row["id"])]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_batch_prediction_answers_each_row_once_however_often_its_trainer_is_killed(
    running: Service, graftwork: Graftwork, digits: Digits, tmp_path: Path
) -> None:
    """kill -9 where a part is stored and not named, and in the transaction that ends the job: two attempts are lost."""
    pixels = digits[0][:3000]
    dataset = graftwork.datasets.create({"x": pixels[:100]}, name="rows")
    body: dict[str, Any] = {"kind": "pretraining", "dataset": dataset["id"], "name": "rows", "training": {"steps": 1}}
    graftwork.jobs.create(**body, backbone={"kind": "mlp", "hidden": [16]}, wait=True)
    options = {"outputs": ["embeddings"], "checkpoint_rows": 1, "wait": True}
    undisturbed = graftwork.jobs.batch_predict("rows", {"x": pixels}, **options)
    places = ("checkpoint.stored", "finish.before_commit")
    running.arm(*places)
    job = graftwork.jobs.batch_predict("rows", {"x": pixels}, **options)
    assert all(running.acted(place) for place in places)
    endings = [attempt["ending"] for attempt in graftwork.jobs.attempts(job["id"])]
    assert endings == ["died", "died", "succeeded"]
    tables = [
        graftwork.jobs.download(one["id"], "results.csv", tmp_path / f"{index}.csv").read_text()
        for index, one in enumerate((undisturbed, job))
    ]
    assert tables[0] == tables[1]
    assert [line.partition(",")[0] for line in tables[1].splitlines()] == ["row", *map(str, range(len(pixels)))]


@pytest.mark.filterwarnings("ignore:model_not_used")
def test_an_alias_is_moved_once_however_often_the_trainer_is_killed(running: Service, graftwork: Graftwork) -> None:
    """kill -9 between the registration of the climbing job's model and the commit, and once that is done."""
    rows = np.random.default_rng(0).normal(size=(300, 3)).round(3).tolist()
    lines = [f"{a},{b},{c},{'yes' if a * b > 0 else 'no'}" for a, b, c in rows]
    content = "\n".join(["a,b,c,kind", *lines]).encode()
    dataset = graftwork.datasets.create(content, name="products", columns={"kind": "target"})
    body: dict[str, Any] = {
        "kind": "pretraining",
        "dataset": dataset["id"],
        "name": "products",
        "training": {"steps": 1},
    }
    graftwork.jobs.create(**body, backbone={"kind": "mlp", "hidden": [4]}, wait=True)
    places = ("submit.committed", "finish.before_commit", "finish.committed")
    running.arm(*places)
    head = graftwork.heads.create(model="products", dataset="products", name="climber", climb=True)
    job = graftwork.jobs.wait(head["climb"]["job"])
    assert all(running.acted(place) for place in places)
    assert [attempt["ending"] for attempt in graftwork.jobs.attempts(job["id"])] == ["died", "succeeded"]
    assert job["metrics"]["climb"]["moved"] is True
    history = graftwork.models.alias_history("climber", "best")
    assert [change["version"] for change in history] == [2, 1]
    assert graftwork.models.get("climber@best")["job"] == job["id"]
    assert len(graftwork.models.lineage("products")["children"]) == 1 + (
        graftwork.models.get("climber@2")["parent"] is not None
    )


def test_a_migration_that_is_killed_half_way_runs_again(tmp_path: Path) -> None:
    code = "from app.db.migrate import migrate; from app.db.session import Database; import sys; migrate(Database({}))"
    command = [sys.executable, "-c", code.format(repr(f"sqlite:///{tmp_path / 'fresh.db'}"))]
    killed = subprocess.run(command, env={**os.environ, "GRAFTWORK_FAILPOINTS": "migration.begun=kill"}, check=False)
    assert killed.returncode == -9
    subprocess.run(command, check=True)


def test_a_failpoint_that_there_is_not_is_refused_at_the_start() -> None:
    environment = {**os.environ, "GRAFTWORK_FAILPOINTS": "submit.nowhere=kill"}
    done = subprocess.run(
        [sys.executable, "-c", "import app.failpoints"], env=environment, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"no failpoint 'submit.nowhere=kill'" in done.stderr


def test_every_place_is_in_the_code_once() -> None:
    code = "\n".join(path.read_text() for folder in ("app", "worker") for path in Path(folder).rglob("*.py"))
    for place in failpoints.PLACES:
        assert code.count(f'"{place}")') == 1, place
