"""The API killed again and again, at moments drawn by chance: a key makes one job, and a stream has no gap."""

import random
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from app.kit.process import free_port
from app.settings import Settings
from graftwork import Graftwork, UnreachableError
from tests.support.servers import HANGS, KEY, Service, service, wait_until
from tests.support.work import run_jobs

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
Json = dict[str, Any]
SEED, APIS, USERS, KILLS = 7, 2, 4, 25  # on each database
RESTARTS = 2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # where others use the machine, too


FORKS = """
import os, signal, sys
from app.cli import api
from app.kit.process import die_with_parent
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
parent = os.getpid()
for port in sys.stdin:
    if not (child := os.fork()):
        die_with_parent(parent)
        os.environ["GRAFTWORK_PORT"] = port.strip()
        api.run()
        os._exit(0)
    print(child, flush=True)
"""


class Forks:
    """Starts APIs out of a process that has imported all that they need: in a moment instead of in seconds."""

    def __init__(self, running: Service) -> None:
        program = [sys.executable, "-c", FORKS]
        with running.log.open("ab") as log:
            self._process = subprocess.Popen(
                program, env=running.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def start(self, port: int) -> psutil.Process:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(port, file=self._process.stdin, flush=True)
        return psutil.Process(int(self._process.stdout.readline()))

    def close(self) -> None:
        """End it, and with it those that it has started."""
        self._process.kill()
        self._process.communicate()


class Api:
    """One of several APIs over the same data, each of which may be killed and started again."""

    def __init__(self, forks: Forks, http: httpx.Client) -> None:
        self._forks, self._http = forks, http
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._process = self._forks.start(self._port)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(HANGS)

    def wait_ready(self) -> None:
        wait_until(self._ready, "an API is ready")

    def _ready(self) -> bool:
        try:
            return self._http.get(f"{self.url}/health/ready").is_success
        except httpx.TransportError:
            return False


@dataclass
class Users:
    """They submit and pause jobs, and repeat what was not answered; what they have been told is what must be true."""

    http: httpx.Client
    apis: list[Api]
    dataset: str
    answers: dict[str, Json] = field(default_factory=dict)  # by key
    unanswered: int = 0

    def submit_and_pause(self, first: Api, key: str) -> None:
        """Both may be repeated; a user begins at the API `first`."""
        begin = self.apis.index(first)
        urls = [api.url for api in self.apis[begin:] + self.apis[:begin]]
        job = self.answers[key] = self.submit(urls, key)
        assert self._ask(urls, f"/v1/jobs/{job['id']}/pause")["status"] == "paused"

    def submit(self, urls: list[str], key: str) -> Json:
        body = {"kind": "pretraining", "dataset": self.dataset, "training": {"steps": 1}, "metadata": {"key": key}}
        return self._ask(urls, "/v1/jobs", json=body, headers={"Idempotency-Key": key})

    def _ask(self, urls: list[str], path: str, headers: dict[str, str] | None = None, **options: Any) -> Json:
        """Ask one API after the other until one answers."""
        for url in cycle(urls):
            with suppress(httpx.TransportError):
                answer = self.http.post(url + path, headers=headers, **options)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    assert answer.status_code == 202, answer.text
                    found: Json = answer.json()
                    return found
            self.unanswered += 1
            time.sleep(0.1)
        raise AssertionError


def prepared_dataset(running: Service, api: Api, database_options: Json) -> str:
    with Graftwork(api.url, KEY) as graftwork:
        made = graftwork.datasets.create({"x": [[float(n), 0.0] for n in range(30)]}, name="rows", wait=False)
    run_jobs(Settings(data=running.folder / "data", **database_options))
    return str(made["id"])


def all_at_once(users: Users, api: Api, name: str) -> threading.Thread:
    """Let every user submit and pause a job at the same time."""

    def run() -> None:
        with ThreadPoolExecutor(USERS) as pool:
            list(pool.map(partial(users.submit_and_pause, api), [f"{name}-{user}" for user in range(USERS)]))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def usual_seconds(users: Users, api: Api) -> float:
    """How long a round takes that nothing disturbs."""
    taken = []
    for number in range(5):
        began = time.monotonic()
        all_at_once(users, api, f"calm-{number}").join()
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


def test_killed_apis_make_one_job_of_each_key(tmp_path: Path, database_options: Json) -> None:
    chance = random.Random(SEED)  # noqa: S311 - no secrets
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        service(tmp_path, **database_options) as running,
        closing(Forks(running)) as forks,
        httpx.Client(headers=headers, trust_env=False, timeout=HANGS) as http,
    ):
        assert running.run("migrate").wait(HANGS) == 0
        apis = [Api(forks, http) for _ in range(APIS)]
        for api in apis:
            api.wait_ready()
        users = Users(http, apis, prepared_dataset(running, apis[0], database_options))
        seconds = usual_seconds(users, apis[0])
        for number, api in zip(range(KILLS), cycle(apis), strict=False):
            for each in apis:
                each.wait_ready()
            working = all_at_once(users, api, f"round-{number}")
            time.sleep(chance.uniform(0, seconds))
            api.kill()
            working.join()
            api.start()
        assert users.unanswered > 0, "no request was under way when its API was killed"
        apis[0].wait_ready()
        check_what_was_told(users, apis[0])


def check_what_was_told(users: Users, api: Api) -> None:
    """One job a key, with every event once; the same answer whenever the key comes again."""
    for key, answer in users.answers.items():
        assert users.submit([api.url], key) == answer
    with Graftwork(api.url, KEY) as graftwork:
        jobs = list(graftwork.jobs.list(kind="pretraining"))
        assert sorted(job["metadata"]["key"] for job in jobs) == sorted(users.answers)
        for job in jobs:
            assert users.answers[job["metadata"]["key"]]["id"] == job["id"]
            told = [(event["seq"], event["type"]) for event in graftwork.jobs.events(job["id"])]
            assert told == [(1, "job.queued"), (2, "job.paused")]


def follow(graftwork: Graftwork, job: str, seen: list[Json]) -> None:
    """Follow a job to its end; begin again where the client lost its patience before an API was back."""
    while True:
        try:
            for event in graftwork.jobs.follow(job, after=seen[-1]["seq"] if seen else 0):
                seen.append(event)  # noqa: PERF402 - others look at it meanwhile
        except UnreachableError:
            continue
        return


def kill_the_api(running: Service, chance: random.Random, seen: list[Json]) -> tuple[float, float]:
    """Kill it at some moment while a client is told something; return from when to when there was none."""
    told = len(seen)
    wait_until(lambda: len(seen) > told, "the client is told more")
    time.sleep(chance.uniform(0, 0.5))
    began = time.time()
    api = running.api()  # `graftwork up` starts it again
    api.kill()
    api.wait(HANGS)
    running.wait_ready()
    return began, time.time()


def test_a_stream_is_followed_through_kills_of_the_api(tmp_path: Path, database_options: Json, digits: Digits) -> None:
    """A training tells of its checkpoints as fast as it can; it is cancelled after the last kill."""
    chance = random.Random(SEED)  # noqa: S311 - no secrets
    training = {"steps": 1_000_000, "batch_size": 32, "checkpoint_steps": 50, "seed": 3}
    with service(tmp_path, **database_options) as running, running.up().client() as graftwork:
        dataset = graftwork.datasets.create({"x": digits[0][:300]}, name="digits")["id"]
        backbone = {"kind": "mlp", "hidden": [16]}
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset, backbone=backbone, training=training)["id"]
        seen: list[Json] = []
        following = threading.Thread(target=follow, args=(graftwork, job, seen))
        following.start()
        gaps = [kill_the_api(running, chance, seen) for _ in range(RESTARTS)]
        graftwork.jobs.cancel(job)
        following.join()
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        assert seen == list(graftwork.jobs.events(job))
        assert seen[-1]["type"] == "job.cancelled"
        for begin, end in gaps:
            assert any(begin < moment(event) < end for event in seen), "nothing was told while there was no API"


def moment(event: Json) -> float:
    return datetime.fromisoformat(event["created_at"]).timestamp()
