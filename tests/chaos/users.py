"""The users: they submit jobs and upload data, repeat what was not answered, cancel, pause and resume."""

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.chaos.cluster import Cluster, new_key
from tests.support.servers import KEY

Json = dict[str, Any]
TRAINING: Json = {"steps": 600, "batch_size": 16, "checkpoint_steps": 60, "seed": 5}
SHORTER: Json = {**TRAINING, "steps": 300}  # every step of several workers passes between them
GANG = "gang of "  # how the names of templates begin that several workers train together
MLP: Json = {"kind": "mlp", "hidden": [32, 8]}
LIMIT = 60.0  # seconds, within which every request has to be answered, however often it is repeated
_ANSWER = httpx.Timeout(30, connect=5)
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Record:
    """What the users have been told, which is what must turn out to be true."""

    jobs: dict[str, str] = field(default_factory=dict)  # id to the template that it was made from
    keys: dict[str, str] = field(default_factory=dict)  # of a request to the id that answered it
    cancelled: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    repeated: int = 0
    slowest: float = 0.0


class Users:
    """All of them, one request after the other."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.record = Record()
        self._chance = chance
        self._urls = [f"http://127.0.0.1:{port}" for port in cluster.api_ports]
        self._http = httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=_ANSWER, trust_env=False)
        self.templates: dict[str, Json] = {}

    def close(self) -> None:
        self._http.close()

    def prepare(self) -> None:
        """Before the faults: a dataset, a backbone, and what jobs are made from."""
        dataset = self.upload()
        self._until_ready(dataset)
        plain = {"kind": "pretraining", "dataset": dataset, "backbone": MLP, "training": TRAINING}
        heads = [{"kind": "classifier", "target": "label"}]
        tuned = {"kind": "fine_tuning", "dataset": dataset, "heads": heads, "strategy": {"kind": "full"}}
        self.templates = {"plain": plain, "variational": {**plain, "method": {"kind": "vae"}}}
        (output,) = self.until_ended(self.submit("plain"))["outputs"]
        self.templates["tuned"] = {**tuned, "model": output["model"], "training": TRAINING}
        for nodes in (2, 3):
            resources = {"device": "cpu", "nodes": nodes}
            self.templates[f"{GANG}{nodes}"] = {**plain, "training": SHORTER, "resources": resources}
        for name in self.templates:
            self.until_ended(self.submit(name))

    def upload(self) -> str:
        """A small labelled table, always the same one."""
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 120)
        rows = rng.normal(size=(120, 6)) + labels[:, None]
        text = io.StringIO()
        text.write("a,b,c,d,e,f,label\n")
        for row, label in zip(rows, labels, strict=True):
            text.write(",".join(f"{value:.4f}" for value in row) + f",{'xyz'[label]}\n")
        fields = {"name": "rows", "columns": '{"label": "target"}'}
        made = self.ask("POST", "/v1/datasets", files={"file": ("rows.csv", text.getvalue().encode())}, data=fields)
        return str(made.json()["id"])

    def _until_ready(self, dataset: str) -> None:
        while (found := self.ask("GET", f"/v1/datasets/{dataset}").json())["status"] != "ready":
            assert found["status"] == "preparing", found
            time.sleep(0.2)

    def submit(self, template: str | None = None) -> str:
        """Queue a job; return its id."""
        name = template or self._chance.choice(sorted(self.templates))
        key = new_key()
        body = {**self.templates[name], "metadata": {"key": key}}
        job = str(self.ask("POST", "/v1/jobs", key=key, json=body).json()["id"])
        self.record.jobs[job], self.record.keys[key] = name, job
        return job

    def cancel(self) -> None:
        """Cancel some job; what has ended by then stays as it is."""
        job = self._some_job()
        if self.ask("POST", f"/v1/jobs/{job}/cancel").status_code == httpx.codes.ACCEPTED:
            self.record.cancelled.add(job)

    def pause(self) -> None:
        """Pause some job."""
        job = self._some_job()
        if self.ask("POST", f"/v1/jobs/{job}/pause").is_success:
            self.record.paused.add(job)

    def resume(self) -> None:
        """Resume all that are paused."""
        for job in sorted(self.record.paused):
            if self.job(job)["status"] == "paused":
                self.ask("POST", f"/v1/jobs/{job}/resume")

    def _some_job(self) -> str:
        return self._chance.choice(sorted(self.record.jobs)[-8:])

    def job(self, job: str) -> Json:
        found: Json = self.ask("GET", f"/v1/jobs/{job}").json()
        return found

    def until_ended(self, job: str) -> Json:
        """Wait for the end of a job that nothing disturbs."""
        while (found := self.job(job))["status"] not in ENDED:
            time.sleep(0.2)
        assert found["status"] == "succeeded", found
        return found

    def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        """Repeat a request at either API until it is answered; 409 is an answer, 503 and 429 are not."""
        headers = {"Idempotency-Key": key or new_key()} if method == "POST" else {}
        began = time.monotonic()
        send: Callable[[], httpx.Response] = lambda: self._http.request(  # noqa: E731 - read below in one line
            method, self._chance.choice(self._urls) + path, headers=headers, **options
        )
        while True:
            try:
                answer = send()
                if answer.is_success or answer.status_code in (httpx.codes.CONFLICT, httpx.codes.NOT_FOUND):
                    self.record.slowest = max(self.record.slowest, time.monotonic() - began)
                    return answer
                assert answer.status_code in (429, 503), (path, answer.status_code, answer.text)
            except httpx.TransportError:
                pass
            assert time.monotonic() - began < LIMIT, f"{method} {path} was not answered"
            self.record.repeated += 1
            time.sleep(0.3)
