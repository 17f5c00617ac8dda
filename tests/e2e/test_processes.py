"""Several API processes and a predictor of its own: what dies costs the requests in its hands, and is started again."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.servers import HANGS, KEY, Service, has_ended, service, wait_until

AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
STUCK = """
import time, uvicorn
from app.cli.watched_server import WatchedServer

async def app(scope, receive, send):
    if scope["type"] == "http":
        {fault}
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b""}})

config = uvicorn.Config(app, port=0, lifespan="off", log_level="info")
WatchedServer(config, 1, lambda: {computing}).run()
"""


@pytest.mark.parametrize(
    ("fault", "computing", "ends"),
    [("time.sleep(3000)", "0", True), ("while True: pass", "0", True), ("pass", "5", True), ("pass", "0", False)],
)
def test_a_server_without_progress_ends_and_says_where(fault: str, computing: str, ends: bool) -> None:
    code = STUCK.format(fault=fault, computing=computing)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "running on" in line)
        url = line.split("running on ")[1].split()[0]
        if ends:
            with suppress(httpx.TransportError):
                httpx.get(url, timeout=HANGS, trust_env=False)
            assert process.wait(HANGS) == 1
            assert "Timeout" in process.stderr.read()
        else:
            assert [httpx.get(url, trust_env=False).status_code for _ in range(2)] == [200, 200]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def commands(running: Service, name: str) -> list[psutil.Process]:
    return [each for each in running.tree("app.cli.main") if name in each.cmdline()]


@pytest.mark.slow
def test_what_dies_costs_what_it_had_in_its_hands(
    tmp_path: Path, digits: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    with service(tmp_path, api_processes=2, predictor="process") as running, running.up().client() as graftwork:
        inputs, labels = digits[0][:200], digits[1][:200]
        dataset = graftwork.datasets.create({"x": inputs, "y": labels}, name="digits")["id"]
        head = {"kind": "classifier", "target": "label"}
        job = graftwork.jobs.create(kind="fine_tuning", name="digits", dataset=dataset, model=None, heads=[head])
        graftwork.jobs.wait(job["id"], timeout=HANGS)
        body = {"inputs": inputs[:3].tolist()}
        expected = graftwork.models.predict("digits", inputs[:3])

        def ask() -> httpx.Response:
            url = f"{running.url}/v1/models/digits/predictions"
            return httpx.post(url, json=body, headers=AUTHORIZATION, timeout=HANGS, trust_env=False)

        wait_until(lambda: len(commands(running, "api")) == 3, "two APIs and a predictor run")
        (predictor,) = (each for each in commands(running, "api") if "--port" in each.cmdline())
        assert ask().json()["predictions"] == expected
        headers = ask().headers
        assert headers["x-request-id"].startswith("req_")
        assert all(len(headers.get_list(name)) == 1 for name in headers)
        refused = httpx.post(f"{running.url}/v1/models/digits/predictions", json=body, trust_env=False)
        assert refused.json()["code"] == "unauthorized"
        predictor.kill()
        wait_until(lambda: has_ended(predictor), "the predictor is gone")
        answer = ask()
        if answer.status_code == 503:
            assert answer.json()["code"] == "predictor_unavailable"
            assert answer.headers["retry-after"] == "2"
        assert graftwork.models.get("digits")["name"] == "digits"  # all else goes on
        wait_until(lambda: ask().status_code == 200, "another predictor answers")
        assert ask().json()["predictions"] == expected
        first, _ = (each for each in commands(running, "api") if "--port" not in each.cmdline())
        first.kill()
        wait_until(lambda: has_ended(first), "an API is gone")
        wait_until(lambda: len(commands(running, "api")) == 3, "another API runs")
        assert ask().json()["predictions"] == expected
