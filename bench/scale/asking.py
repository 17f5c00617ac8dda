"""Clients that ask a large and a small service the same routes at the same time, and what each answer took."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from app.kit.ids import new_id

CLIENTS = 200
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """A request as people make it; `path` names rows of the service that is asked."""

    title: str
    path: str
    body: Mapping[str, Any] | None = None

    @property
    def is_search(self) -> bool:
        """Whether it reads the rows of a project one by one, and is asked alone."""
        return self.title in SEARCHES


SEARCHES = ("jobs by metadata", "jobs by metadata, none", "events of a rare type", "storage of the service")


def routes(names: Mapping[str, str], inputs: list[list[float]]) -> list[Route]:
    """Return what is asked of a service whose rows have these names and ids."""
    gets = {
        "models": "/v1/models",
        "models, a later page": "/v1/models?after={middle_model}",
        "models of a name": "/v1/models?name={name}",
        "models of a rare kind": "/v1/models?kind=backbone",
        "a model by name": "/v1/models/{name}",
        "a model by id": "/v1/models/{model}",
        "lineage of a model": "/v1/models/{model}/lineage",
        "aliases of a name": "/v1/models/{name}/aliases",
        "jobs": "/v1/jobs",
        "jobs, a later page": "/v1/jobs?after={middle_job}",
        "jobs that failed": "/v1/jobs?status=failed",
        "jobs that are queued": "/v1/jobs?status=queued",
        "jobs of a rare kind": "/v1/jobs?kind=evaluation",
        "jobs of a name": "/v1/jobs?name={job_name}",
        "jobs on a dataset": "/v1/jobs?dataset={dataset}",
        "jobs from a model": "/v1/jobs?model={name}",
        "jobs by metadata": "/v1/jobs?metadata=team:t1",
        "jobs by metadata, none": "/v1/jobs?metadata=team:nobody",
        "a job": "/v1/jobs/{job}",
        "a queued job": "/v1/jobs/{queued}",
        "events of a job": "/v1/jobs/{job}/events",
        "attempts of a job": "/v1/jobs/{job}/attempts",
        "events of the project": "/v1/events",
        "events of the project, later": "/v1/events?after={moment}~~0",
        "events of a rare type": "/v1/events?type=job.paused",
        "datasets": "/v1/datasets",
        "datasets of a name": "/v1/datasets?name={dataset_name}",
        "a dataset": "/v1/datasets/{dataset}",
        "storage": "/v1/storage?service=false",
        "storage of the service": "/v1/storage",
        "projects": "/v1/admin/projects",
        "queue of all projects": "/v1/admin/jobs?status=queued",
        "ready": "/health/ready",
        "metrics": "/metrics",
    }
    job = {"kind": "pretraining", "dataset": names["real_dataset"], "training": {"steps": 1}}
    return [
        *(Route(title, path.format_map(names)) for title, path in gets.items()),
        Route("predictions, warm", f"/v1/models/{names['real_model']}/predictions", {"inputs": inputs}),
        Route("a job is submitted under a quota", "/v1/jobs", job),
    ]


@dataclass(frozen=True, slots=True)
class Target:
    """A service, or a project of it, that is asked."""

    title: str
    url: str
    key: str
    routes: list[Route]


Times = dict[tuple[str, str], list[float]]  # milliseconds by target and route


async def _send(client: httpx.AsyncClient, target: Target, route: Route) -> float:
    """Return the milliseconds of one answer; of one that is no success, the limit."""
    headers = {"Authorization": f"Bearer {target.key}"}
    began = time.perf_counter()
    try:
        if route.body is None:
            answer = await client.get(target.url + route.path, headers=headers)
        else:
            headers["Idempotency-Key"] = new_id("key")
            answer = await client.post(target.url + route.path, headers=headers, json=route.body)
    except httpx.HTTPError as error:
        print(f"{target.title}, {route.title}: {error!r}", flush=True)
        return 1000 * _TIMEOUT
    if not answer.is_success:
        print(f"{target.title}, {route.title}: {answer.status_code} {answer.text[:200]}", flush=True)
        return 1000 * _TIMEOUT
    return 1000 * (time.perf_counter() - began)


def _connections() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=2 * CLIENTS, max_keepalive_connections=2 * CLIENTS)
    return httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT, limits=limits)


async def alone(targets: list[Target], repeats: int, *, searches: bool) -> Times:
    """Ask every route of every target by itself, in turns; of several repeats the first does not count."""
    times: Times = defaultdict(list)
    async with _connections() as client:
        for repeat in range(repeats + (repeats > 1)):
            for index, route in enumerate(targets[0].routes):
                for target in targets:
                    if route.is_search == searches:
                        milliseconds = await _send(client, target, target.routes[index])
                        if repeat or repeats == 1:
                            times[target.title, route.title].append(milliseconds)
    return times


async def together(targets: list[Target], seconds: float, rate: float) -> Times:
    """Let CLIENTS clients ask routes at random, all together `rate` requests a second, and return the times.

    Each service is asked as often, whatever the number of its projects that are asked.
    """
    times: Times = defaultdict(list)
    draws = random.Random(0)  # noqa: S311 - no secret
    services: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        services[target.url].append(target)
    ends_at = time.perf_counter() + seconds

    async def ask(client: httpx.AsyncClient) -> None:
        await asyncio.sleep(draws.uniform(0, CLIENTS / rate))
        while time.perf_counter() < ends_at:
            target = draws.choice(services[draws.choice(list(services))])
            route = draws.choice([route for route in target.routes if not route.is_search])
            times[target.title, route.title].append(await _send(client, target, route))
            await asyncio.sleep(draws.expovariate(rate / CLIENTS))

    async with _connections() as client:
        await asyncio.gather(*(ask(client) for _ in range(CLIENTS)))
    return times


def quantiles(times: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    return float(np.median(times)), float(np.percentile(times, 99))
