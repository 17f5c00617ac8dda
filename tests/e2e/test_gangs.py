"""Jobs of several nodes: an API and three workers as on four machines, which are killed, frozen, cut off and stopped.

Where this machine allows it, each worker has a network namespace with an address of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import psutil
import pytest

from graftwork import Graftwork
from graftwork.errors import ConflictError
from graftwork.progress import ENDED
from tests.support.hosts import Host, network
from tests.support.jobs import began_at, endings, step_of, workers_of
from tests.support.servers import HANGS, Postgres, Service, has_ended, make_bucket, s3, service, valkey, wait_until
from tests.support.storage import graftwork_command

pytestmark = pytest.mark.slow

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
QUICK = {
    "lease_seconds": 10,
    "sweep_seconds": 0.5,
    "poll_seconds": 60,  # so that workers hear of a gang by its rings alone
    "gang_seconds": 12,  # a gang that has a checkpoint goes on without those that come later, on a busy machine too
    "backoff_seconds": 0.5,
    "max_attempts": 20,
}
WORKERS = 3
TRAINING = {"steps": 400, "batch_size": 32, "checkpoint_steps": 50, "seed": 3}
ENDLESS = {**TRAINING, "steps": 1_000_000}
NETWORK: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [64, 32]}, "method": {"kind": "autoencoder"}}


class Machines:
    """One with the API, and three with a worker each."""

    def __init__(self, api: Service, workers: list[Service]) -> None:
        self.api, self.workers = api, workers

    def work(self, *chosen: Service) -> None:
        """Have workers on these machines, and on no others."""
        for machine in self.workers:
            if machine in chosen and not machine.tree("celery"):
                machine.run("worker")
            elif machine not in chosen and machine.tree("celery"):
                machine.stop()
        for machine in chosen:
            wait_until(lambda machine=machine: machine.tree("trainer"), "it has a trainer")  # type: ignore[misc]

    def leader(self, graftwork: Graftwork, job: str) -> Service:
        """The machine whose worker leads the job's newest attempt."""
        owner = graftwork.jobs.attempts(job)[-1]["worker"]
        return next(machine for machine in self.workers if machine.tree("celery") and machine.worker_name() == owner)

    def members(self, graftwork: Graftwork, job: str) -> list[Service]:
        """The other machines that train it."""
        leader = self.leader(graftwork, job)
        return [machine for machine in self.workers if machine is not leader and ranks(machine)]


def ranks(machine: Service) -> list[psutil.Process]:
    return machine.tree("worker.distributed.rank")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("gangs")
    with ExitStack() as stack:
        variables = stack.enter_context(s3())
        here = {
            "database_url": postgres.url(postgres.create()),
            "broker_url": stack.enter_context(valkey()),
            "artifacts_url": make_bucket(variables),
        }
        there: dict[str, str] = here
        hosts: list[Host | None] = [None] * WORKERS
        if (found := stack.enter_context(network(WORKERS))) is not None:
            relayed = {name: stack.enter_context(found.relayed(here[name])) for name in ("database_url", "broker_url")}
            there, hosts = here | relayed, list(found.hosts)
            bucket = stack.enter_context(found.relayed(variables["AWS_ENDPOINT_URL"]))
        api = stack.enter_context(service(folder / "api", **here, **QUICK))
        api.environment.update(variables)
        workers = [stack.enter_context(service(folder / f"w{number}", **there, **QUICK)) for number in range(WORKERS)]
        for machine, host in zip(workers, hosts, strict=True):
            machine.host = host
            machine.environment.update(variables if host is None else variables | {"AWS_ENDPOINT_URL": bucket})
        graftwork_command(api, "migrate")
        api.run("api", "--port", str(api.port))
        started = Machines(api, workers)
        started.work(*workers)
        api.wait_ready()
        yield started


@pytest.fixture
def graftwork(machines: Machines) -> Iterator[Graftwork]:
    with machines.api.client() as client:
        yield client
        for job in client.jobs.list():
            if job["status"] not in ENDED:
                with suppress(ConflictError):  # it has ended since
                    client.jobs.cancel(job["id"])


@pytest.fixture(scope="module")
def client(machines: Machines) -> Iterator[Graftwork]:
    with machines.api.client() as client:
        yield client


@pytest.fixture(scope="module")
def dataset(client: Graftwork, digits: Digits) -> str:
    return str(client.datasets.create({"x": digits[0][:1000]}, name="digits", wait=True)["id"])


def pretraining(
    graftwork: Graftwork, dataset: str, nodes: int, sharding: str = "auto", device: str = "cpu", **fields: Any
) -> str:
    resources = {"device": device, "nodes": nodes, "sharding": sharding}
    body = {"training": TRAINING, "resources": resources, **fields}
    return str(graftwork.jobs.create(kind="pretraining", dataset=dataset, **NETWORK, **body)["id"])


def in_its_midst(machines: Machines, graftwork: Graftwork, dataset: str, nodes: int) -> str:
    """A job without an end that all machines may take, once it has a checkpoint."""
    machines.work(*machines.workers)
    job = pretraining(graftwork, dataset, nodes, training=ENDLESS)
    wait_until(lambda: graftwork.jobs.checkpoints(job)["data"], "its first checkpoint")
    return job


def losses(graftwork: Graftwork, job: str) -> dict[int, float]:
    """The training loss by step, as it was reported."""
    points = graftwork.jobs.metrics(job)["data"]
    return {point["step"]: point["values"]["train/loss"] for point in points if "train/loss" in point["values"]}


def gathered(graftwork: Graftwork, job: str) -> list[int]:
    """With how many nodes each attempt trained."""
    return [one["data"]["nodes"] for one in graftwork.jobs.events(job) if one["type"] == "gang.gathered"]


def test_three_workers_learn_what_one_does(machines: Machines, graftwork: Graftwork, dataset: str) -> None:
    machines.work(*machines.workers)
    short = {**TRAINING, "steps": 10, "precision": "float32"}
    alone = pretraining(graftwork, dataset, 1, training=short)
    together = [pretraining(graftwork, dataset, 3, sharding, training=short) for sharding in ("replicate", "shard")]
    for job in (alone, *together):
        assert graftwork.jobs.wait(job, timeout=HANGS)["status"] == "succeeded"
    expected = losses(graftwork, alone)
    for job in together:
        assert gathered(graftwork, job)[-1] == 3
        actual = losses(graftwork, job)
        common = sorted(expected.keys() & actual.keys())
        assert common[-1] == 10
        np.testing.assert_allclose([actual[step] for step in common], [expected[step] for step in common], rtol=1e-4)
    wait_until(lambda: not any(ranks(machine) for machine in machines.workers), "no rank is left")
    for machine in machines.workers:
        wait_until(lambda folder=machine.folder: list((folder / "data" / "tmp").iterdir()) == [], "no file is left")  # type: ignore[misc]


def test_a_lone_worker_with_a_gpu_leads_others_on_their_cpus(
    machines: Machines, graftwork: Graftwork, dataset: str
) -> None:
    """The worker says that it has a GPU; the other is busy as the job is claimed, and joins later."""
    gpu, other, _ = machines.workers
    machines.work(other)
    busy = pretraining(graftwork, dataset, 1, training=ENDLESS)
    wait_until(lambda: graftwork.jobs.get(busy)["status"] == "running", "the other is busy")
    gpu.environment["GRAFTWORK_WORKER_DEVICE"] = "cuda"
    try:
        machines.work(gpu, other)
        short = {**TRAINING, "steps": 10}
        job = pretraining(graftwork, dataset, 2, device="auto", training=short)
        wait_until(lambda: graftwork.jobs.attempts(job), "it is claimed")
        graftwork.jobs.cancel(busy)
        assert graftwork.jobs.wait(job, timeout=HANGS)["status"] == "succeeded"
        assert gathered(graftwork, job) == [2]
        assert {attempt["worker"] for attempt in graftwork.jobs.attempts(job)} == {gpu.worker_name()}
    finally:
        gpu.environment.pop("GRAFTWORK_WORKER_DEVICE")
        machines.work(other)


def test_a_job_goes_on_with_as_many_workers_as_are_left(machines: Machines, graftwork: Graftwork, dataset: str) -> None:
    """Of three a member is killed, of two the leader; then all are there again."""
    job = in_its_midst(machines, graftwork, dataset, 3)
    with followed_by(graftwork, job, 2):
        machines.members(graftwork, job)[0].kill_worker()
    with followed_by(graftwork, job, 1):
        machines.leader(graftwork, job).kill_worker()
    assert {("member_lost", True), ("silent", True)} <= set(endings(graftwork, job))
    with followed_by(graftwork, job, 3):
        for machine in machines.workers:
            machine.stop()
        machines.work(*machines.workers)
    steps = began_at(graftwork, job)
    assert steps[0] == 0
    assert steps == sorted(steps)
    graftwork.jobs.cancel(job)
    wait_until(lambda: not any(ranks(machine) for machine in machines.workers), "no rank is left")


@contextmanager
def followed_by(graftwork: Graftwork, job: str, nodes: int) -> Iterator[None]:
    """After what happens inside, the job goes on from a checkpoint with so many nodes, and writes another one."""
    before = len(gathered(graftwork, job))
    yield
    wait_until(lambda: (gathered(graftwork, job)[before:] or [0])[-1] == nodes, f"{nodes} nodes train")
    went_on(graftwork, job)


def went_on(graftwork: Graftwork, job: str) -> None:
    """A new checkpoint has been written."""
    last = graftwork.jobs.checkpoints(job)["data"][0]["step"]
    wait_until(lambda: graftwork.jobs.checkpoints(job)["data"][0]["step"] > last, "another checkpoint")


def test_a_member_that_freezes_or_stops_is_made_good(machines: Machines, graftwork: Graftwork, dataset: str) -> None:
    """The frozen one costs an attempt within its lease; that which is stopped waits for a checkpoint and costs none."""
    job = in_its_midst(machines, graftwork, dataset, 2)
    (member,) = machines.members(graftwork, job)
    frozen = [one for process in member.processes if process.poll() is None for one in with_children(process.pid)]
    with followed_by(graftwork, job, 2):
        for one in frozen:
            one.suspend()
    for one in frozen:
        one.resume()
    wait_until(lambda: not ranks(member) and member.tree("trainer"), "it has let go, and is free")
    assert ("member_lost", True) in endings(graftwork, job)
    before = len(endings(graftwork, job))
    with followed_by(graftwork, job, 2):
        machines.members(graftwork, job)[0].stop()
    assert endings(graftwork, job)[before - 1] == ("drained", False)


def test_a_member_that_is_cut_off_ends_by_itself_and_comes_back(
    machines: Machines, graftwork: Graftwork, dataset: str
) -> None:
    job = in_its_midst(machines, graftwork, dataset, 3)
    with followed_by(graftwork, job, 3):
        with cut_off(machines.members(graftwork, job)[0]) as member, followed_by(graftwork, job, 2):
            wait_until(lambda: not ranks(member), "it has given up")
        assert ("member_lost", True) in endings(graftwork, job)
        pause_and_resume(graftwork, job)


def test_a_leader_that_is_cut_off_is_replaced_and_writes_nothing_more(
    machines: Machines, graftwork: Graftwork, dataset: str
) -> None:
    job = in_its_midst(machines, graftwork, dataset, 3)
    leader = machines.leader(graftwork, job)
    own = leader.trainer(job)
    with cut_off(leader), followed_by(graftwork, job, 2):
        pass
    assert ("silent", True) in endings(graftwork, job)
    wait_until(lambda: has_ended(own), "it has let go")
    numbers = [event["seq"] for event in graftwork.jobs.events(job)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert workers_of(graftwork, job)[0] not in workers_of(graftwork, job)[1:]


@contextmanager
def cut_off(machine: Service) -> Iterator[Service]:
    """A machine whose cable is pulled inside."""
    if machine.host is None:
        pytest.skip("this machine allows no network namespaces")
    machine.host.pull_cable()
    try:
        yield machine
    finally:
        machine.host.plug_cable()


def pause_and_resume(graftwork: Graftwork, job: str) -> None:
    graftwork.jobs.pause(job)
    wait_until(lambda: graftwork.jobs.get(job)["status"] == "paused", "it is paused")
    graftwork.jobs.resume(job)


def with_children(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def test_gangs_and_other_jobs_get_out_of_each_others_way(
    machines: Machines, graftwork: Graftwork, dataset: str
) -> None:
    """Two gangs of two and single jobs on three workers: each of them ends."""
    machines.work(*machines.workers)
    short = {**TRAINING, "steps": 20}
    jobs = [pretraining(graftwork, dataset, nodes, training=short) for nodes in (2, 1, 2, 1, 3, 1)]
    assert [graftwork.jobs.wait(job, timeout=HANGS)["status"] for job in jobs] == ["succeeded"] * 6


def test_a_gang_that_goes_before_a_job_takes_its_worker(machines: Machines, graftwork: Graftwork, dataset: str) -> None:
    machines.work(*machines.workers)
    lower = [pretraining(graftwork, dataset, 1, training=ENDLESS) for _ in range(2)]
    for job in lower:
        wait_until(lambda job=job: step_of(graftwork, job) > 0, "it trains")  # type: ignore[misc]
    higher = pretraining(graftwork, dataset, 3, training={**TRAINING, "steps": 20}, priority=5)
    assert graftwork.jobs.wait(higher, timeout=HANGS)["status"] == "succeeded"
    assert endings(graftwork, higher) == [("succeeded", True)]
    for job in lower:
        assert endings(graftwork, job)[0] == ("drained", False)
        wait_until(lambda job=job: graftwork.jobs.get(job)["status"] == "running", "it goes on")  # type: ignore[misc]
        graftwork.jobs.cancel(job)


def test_a_gang_waits_for_workers_that_are_busy(machines: Machines, graftwork: Graftwork, dataset: str) -> None:
    machines.work(*machines.workers[:2])
    busy = pretraining(graftwork, dataset, 1, training=ENDLESS)
    wait_until(lambda: step_of(graftwork, busy) > 0, "it trains")
    job = pretraining(graftwork, dataset, 2, training={**TRAINING, "steps": 20})
    wait_until(lambda: endings(graftwork, job)[:1] == [("too_few_workers", False)], "it was in vain")
    graftwork.jobs.cancel(busy)
    assert graftwork.jobs.wait(job, timeout=HANGS)["status"] == "succeeded"
    too_many = pretraining(graftwork, dataset, 4)
    assert "4 workers" in graftwork.jobs.get(too_many)["waiting_for"]
    graftwork.jobs.cancel(too_many)
