"""A process killed at every place that has a name: nothing is lost, nothing done twice, the weights are the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import failpoints
from tests.support.jobs import weights
from tests.support.servers import Service, service

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
TRAINING = {"steps": 60, "batch_size": 32, "checkpoint_steps": 20, "seed": 3}
STARTING = {"migration.begun"}  # no service is there yet
FAST = {"submit.committed", "claim.committed", "checkpoint.stored", "finish.before_commit"}
PLACES = [
    pytest.param(place, marks=[] if place in FAST else [pytest.mark.slow])
    for place in sorted(failpoints.PLACES.keys() - STARTING)
]


def run_job(running: Service, digits: Digits) -> tuple[str, str]:
    """Upload and train as a client does, which repeats what was not answered; return the weights and the job."""
    with running.client() as graftwork:
        dataset = graftwork.datasets.create({"x": digits[0][:300]}, name="digits")
        job = graftwork.jobs.create(
            kind="pretraining", dataset=dataset["id"], backbone={"kind": "mlp", "hidden": [16]}, training=TRAINING
        )
        return weights(graftwork, job["id"]), job["id"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> str:
    with service(tmp_path_factory.mktemp("undisturbed")) as running:
        return run_job(running.up(), digits)[0]


@pytest.fixture
def disturbed(tmp_path: Path, place: str) -> Iterator[Service]:
    once = tmp_path / "once"
    once.mkdir()
    # the place of a clean-up is come to after a death alone
    asked = "training.step=exit:3@5 cleanup.begun=kill" if place == "cleanup.begun" else f"{place}=kill"
    quick = {"lease_seconds": 3, "sweep_seconds": 0.5, "poll_seconds": 1}
    with service(tmp_path, **quick, failpoints=asked, failpoints_once=once) as running:
        yield running.up()
        assert (once / place).exists(), "nobody came to this place"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.timeout(300)
def test_a_kill_changes_nothing(disturbed: Service, undisturbed: str, digits: Digits) -> None:
    found, job = run_job(disturbed, digits)
    assert found == undisturbed
    with disturbed.client() as graftwork:
        assert [row["id"] for row in graftwork.jobs.list(kind="pretraining")] == [job]
        assert len(list(graftwork.datasets.list())) == 1
        assert len(list(graftwork.models.list())) == 1
        for one in graftwork.jobs.list():
            assert one["status"] == "succeeded"
            told = [event["seq"] for event in graftwork.jobs.events(one["id"])]
            assert told == list(range(1, len(told) + 1))


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
