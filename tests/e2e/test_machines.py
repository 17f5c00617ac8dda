"""An API and two workers as on three machines, which share nothing but PostgreSQL, Valkey and a bucket."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.artifacts import blob_key, file_sha256, trash_key
from graftwork import Graftwork
from tests.support.jobs import began_at, endings, made, step_of, weights, workers_of
from tests.support.servers import HANGS, Postgres, Service, make_bucket, s3, service, valkey, wait_until
from tests.support.storage import collected, files, graftwork_command

pytestmark = pytest.mark.slow

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
QUICK = {"lease_seconds": 3, "sweep_seconds": 0.5, "poll_seconds": 1, "loaded_models": 1}
LONG = {"steps": 1000, "batch_size": 32, "checkpoint_steps": 50, "seed": 3}
ENDLESS = {"steps": 10_000_000, "batch_size": 32}
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}


class Machines:
    """Three: one with the API, two with a worker each."""

    def __init__(self, api: Service, workers: tuple[Service, Service], bucket: str) -> None:
        self.api, self.workers = api, workers
        self.bucket = bucket  # its address over HTTP

    def work(self, *wanted: Service) -> None:
        """Have workers on these machines, and on no others."""
        for machine in self.workers:
            if machine not in wanted:
                machine.stop()
            elif not machine.tree("celery"):
                machine.run("worker")
        for machine in wanted:
            wait_until(partial(machine.tree, "trainer"), "it has a trainer")

    def at_work(self) -> Service:
        """A machine with a worker."""
        if not any(machine.tree("celery") for machine in self.workers):
            self.work(self.workers[0])
        return next(machine for machine in self.workers if machine.tree("celery"))

    def owner(self, graftwork: Graftwork, job: str) -> tuple[Service, Service]:
        """The machine whose worker has the job, and the other one."""
        signature = workers_of(graftwork, job)[-1]
        one, other = self.workers
        return (one, other) if one.tree("celery") and one.worker_name() == signature else (other, one)

    def keys(self) -> set[str]:
        """Every key of the bucket below the service's prefix, as the bucket lists them."""
        listed = httpx.get(self.bucket, params={"list-type": "2"}, trust_env=False).raise_for_status().text
        assert "<IsTruncated>false" in listed
        return set(re.findall("<Key>graftwork/([^<]+)", listed))

    def put(self, key: str) -> None:
        """Leave something in the bucket that the service knows nothing of."""
        httpx.put(f"{self.bucket}/graftwork/{key}", content=b"stray", trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    with ExitStack() as stack:
        variables = stack.enter_context(s3())
        url = make_bucket(variables)
        broker = stack.enter_context(valkey())
        shared = {"database_url": postgres.url(postgres.create()), "broker_url": broker, "artifacts_url": url}
        api, one, other = (stack.enter_context(service(folder / name, **shared, **QUICK)) for name in ("api", "a", "b"))
        for machine in (api, one, other):
            machine.environment.update(variables)
        graftwork_command(api, "migrate")
        api.run("api", "--port", str(api.port))
        bucket = url.removeprefix("s3://").removesuffix("/graftwork")
        found = Machines(api, (one, other), f"{variables['AWS_ENDPOINT_URL']}/{bucket}")
        found.work(one, other)
        api.wait_ready()
        yield found


@pytest.fixture(scope="module")
def graftwork(machines: Machines) -> Iterator[Graftwork]:
    with machines.api.client() as client:
        yield client


@pytest.fixture(scope="module")
def dataset(graftwork: Graftwork, digits: Digits) -> str:
    rows = {"x": digits[0][:1000], "y": digits[1][:1000]}
    return str(graftwork.datasets.create(rows, name="digits", wait=True)["id"])


@pytest.fixture(scope="module")
def undisturbed(graftwork: Graftwork, dataset: str) -> str:
    """The weights of the long job where nothing comes between; its model is called `root`."""
    job = pretraining(graftwork, dataset, LONG, "root")
    found = weights(graftwork, job)
    assert endings(graftwork, job) == [("succeeded", True)]
    return found


def pretraining(graftwork: Graftwork, dataset: str, training: dict[str, int], name: str) -> str:
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, name=name, **NETWORK, training=training)
    return str(job["id"])


def in_its_midst(graftwork: Graftwork, dataset: str, name: str) -> str:
    """The long job, once it has a checkpoint."""
    job = pretraining(graftwork, dataset, LONG, name)
    wait_until(lambda: checkpoints(graftwork, job), "a checkpoint")
    return job


def checkpoints(graftwork: Graftwork, job: str) -> list[int]:
    """The steps of those that are kept, the newest first."""
    return [one["step"] for one in graftwork.jobs.checkpoints(job)["data"]]


def fine_tuning(graftwork: Graftwork, dataset: str) -> str:
    """All layers, so that every byte of the pretrained model matters."""
    heads = [{"kind": "classifier", "target": "label"}]
    fields: dict[str, Any] = {"model": "root", "name": "reader", "heads": heads, "strategy": {"kind": "full"}}
    training = {"steps": 200, "batch_size": 32, "seed": 1}
    return str(graftwork.jobs.create(kind="fine_tuning", dataset=dataset, training=training, **fields)["id"])


def cache(machine: Service) -> Path:
    return machine.folder / "data" / "cache"


def damage(*paths: Path) -> None:
    """Flip a bit in the middle of each file."""
    for path in paths:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@contextmanager
def endless(graftwork: Graftwork, dataset: str) -> Iterator[str]:
    """A training without end, from its first steps until it is cancelled."""
    job = pretraining(graftwork, dataset, ENDLESS, "endless")
    try:
        wait_until(lambda: step_of(graftwork, job) > 0, "it has begun")
        yield job
    finally:
        graftwork.jobs.cancel(job)
        graftwork.jobs.wait(job, check=False, timeout=HANGS)


def test_two_jobs_are_worked_at_on_both_machines_at_once(
    machines: Machines, graftwork: Graftwork, dataset: str, undisturbed: str
) -> None:
    machines.work(*machines.workers)
    with endless(graftwork, dataset) as one, endless(graftwork, dataset) as other:
        steps = {job: step_of(graftwork, job) for job in (one, other)}
        wait_until(lambda: all(step_of(graftwork, job) > step for job, step in steps.items()), "both go on")
        assert [graftwork.jobs.get(job)["status"] for job in steps] == ["running", "running"]
        owners = [signature for job in steps for signature in workers_of(graftwork, job)]
        assert sorted(owners) == sorted(machine.worker_name() for machine in machines.workers)


def test_a_drained_worker_leaves_its_job_to_another_machine_at_no_charge(
    machines: Machines, graftwork: Graftwork, dataset: str, undisturbed: str
) -> None:
    machines.work(*machines.workers)
    job = in_its_midst(graftwork, dataset, "drained")
    drained, other = machines.owner(graftwork, job)
    signatures = [drained.worker_name(), other.worker_name()]
    drained.stop()
    assert weights(graftwork, job) == undisturbed
    assert endings(graftwork, job) == [("drained", False), ("succeeded", True)]
    assert graftwork.jobs.get(job)["attempt"] == 1
    assert workers_of(graftwork, job) == signatures
    begun, resumed = began_at(graftwork, job)
    assert begun == 0 < resumed
    assert files(drained, f"tmp/{job}-t1") == []


def test_a_killed_machine_is_replaced_by_one_that_knows_nothing_of_the_job(
    machines: Machines, graftwork: Graftwork, dataset: str, undisturbed: str
) -> None:
    machines.work(machines.at_work())
    job = in_its_midst(graftwork, dataset, "killed")
    killed, other = machines.owner(graftwork, job)
    shutil.rmtree(other.folder / "data", ignore_errors=True)
    signature = killed.worker_name()
    killed.kill_worker()
    newest = checkpoints(graftwork, job)[0]
    assert graftwork.jobs.get(job)["status"] == "running"
    assert files(killed, f"tmp/{job}-t1")
    machines.work(other)
    assert weights(graftwork, job) == undisturbed
    assert endings(graftwork, job) == [("silent", True), ("succeeded", True)]
    assert workers_of(graftwork, job) == [signature, other.worker_name()]
    assert began_at(graftwork, job) == [0, newest]
    assert newest > 0


def test_a_model_of_one_machine_is_fine_tuned_on_another_and_predicts_on_a_third(
    machines: Machines, graftwork: Graftwork, dataset: str, digits: Digits, undisturbed: str
) -> None:
    """Once from an empty cache, and once with a bit flipped in each copy that the cache has."""
    worker = machines.at_work()
    machines.work(worker)
    shutil.rmtree(cache(worker), ignore_errors=True)
    jobs = [fine_tuning(graftwork, dataset)]
    first = made(graftwork, jobs[0])
    parent = [file["sha256"] for file in graftwork.models.get("root")["files"]]
    copies = [cache(worker) / blob_key(sha256) for sha256 in parent]
    assert [file_sha256(copy) for copy in copies] == parent
    damage(*(path for path in (cache(worker) / "blobs").rglob("*") if path.is_file()))
    assert not {file_sha256(copy) for copy in copies} & {*parent}
    jobs.append(fine_tuning(graftwork, dataset))
    assert made(graftwork, jobs[1]) == first
    assert [file_sha256(copy) for copy in copies] == parent
    assert [workers_of(graftwork, job) for job in jobs] == [[worker.worker_name()]] * 2
    pixels, labels = digits[0][2000:2100], digits[1][2000:2100]
    answers = graftwork.models.predict("reader", pixels)
    accuracy = np.mean([answer["label"]["class"] for answer in answers] == labels.astype(str))
    assert accuracy > 0.5, accuracy


def test_a_collection_from_the_api_takes_what_no_row_names_and_leaves_the_models(
    machines: Machines, graftwork: Graftwork, dataset: str, digits: Digits, undisturbed: str
) -> None:
    machines.work(machines.at_work())
    rows = digits[0][:5]
    known = graftwork.models.embed("root", rows)
    passing = made(graftwork, pretraining(graftwork, dataset, {"steps": 20, "seed": 5}, "passing"))
    wait_until(lambda: not files(machines.at_work(), "tmp"), "its attempt's folder is gone")
    graftwork.models.embed("passing", rows)  # the API has room in memory for this one alone
    graftwork.models.delete("passing")
    strays = {"jobs/job_nobody/t1/s5.safetensors", blob_key("0" * 64)}
    for key in (*strays, "notes/not-of-the-service"):
        machines.put(key)
    before = machines.keys()
    told = collected(machines.api, "--dry-run")
    assert machines.keys() == before <= told.keys()
    going = {name for name, action in told.items() if action == "trash"}
    assert going >= strays | {blob_key(sha256) for sha256 in passing.values()}
    assert blob_key(undisturbed) not in going
    amounts = json.loads(graftwork_command(machines.api, "server", "storage", "--json"))
    assert amounts["unreferenced"]["count"] >= 3  # a kill may have left one more
    collected(machines.api)
    assert machines.keys() == before - going | {trash_key(key) for key in going}
    collected(machines.api)
    assert machines.keys() == before - going
    for machine in machines.workers:
        collected(machine)
        assert all(name.startswith("cache/") for name in files(machine))
    shutil.rmtree(cache(machines.api))
    assert graftwork.models.embed("root", rows) == known
