"""A server under test, what is asked of it, and what its processes take for that."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

START_SECONDS = 60.0
_TOLERANCE = 1e-4  # of a probability
Load = tuple[int, int]  # rows, clients
Result = dict[str, float]


@dataclass
class Server:
    """A server: its command, and what starting it took."""

    name: str
    command: list[str]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    cold_starts: list[float] = field(default_factory=list)  # seconds until the first right answer
    loaded_bytes: int = 0  # resident, when each model has answered
    peak_bytes: int = 0  # resident at the most
    pid: int = 0
    is_peer: bool = False  # that memory and start are compared with

    def start(self, targets: "list[Target]", log: Path) -> None:
        """Start it, and wait for a right answer of each target. Raises `RuntimeError` where there is none."""
        with log.open("ab") as output:
            environment = {**os.environ, **self.environment}
            began = time.perf_counter()
            self._process = subprocess.Popen(self.command, env=environment, stdout=output, stderr=output)
        self.pid = self._process.pid
        while True:
            try:
                targets[0].check()
                break
            except (httpx.HTTPError, AssertionError, ValueError, KeyError) as error:
                if self._process.poll() is not None or time.perf_counter() > began + START_SECONDS:
                    message = f"it did not answer: {error!r}; its output is in {log}"
                    raise RuntimeError(message) from error
                time.sleep(0.02)
        self.cold_starts.append(time.perf_counter() - began)
        for target in targets:
            target.check()
        self.loaded_bytes = self.resident_bytes("VmRSS")

    def stop(self) -> None:
        """End it and all below it."""
        processes = self.processes()
        self._process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=5)
        for process in alive:
            process.kill()
        self._process.wait()

    def processes(self) -> list[psutil.Process]:
        """Return its process and those below it."""
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of its processes."""
        return sum(sum(each.cpu_times()[:2]) for each in self.processes())

    def resident_bytes(self, which: str) -> int:
        """Return the resident memory of its processes, VmRSS now or VmHWM at its largest."""
        total = 0
        for process in self.processes():
            status = Path(f"/proc/{process.pid}/status").read_text()
            total += int(status.split(f"{which}:")[1].split(maxsplit=1)[0]) << 10
        return total


@dataclass
class Target:
    """A model of a server: where it answers, what it is asked, and what it has to answer."""

    model: str
    server: Server
    path: str
    bodies: dict[int, Path]  # by rows
    expected: NDArray[np.float32] | None = None  # probabilities (rows, classes)
    read: Callable[[Any], NDArray[np.float32]] | None = None  # probabilities out of an answer
    results: dict[Load, list[Result]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the names of server and model."""
        return f"{self.server.name}, {self.model}"

    def check(self) -> None:
        """Ask for each number of rows, and compare the answers with what they have to be."""
        headers = {"Content-Type": "application/json"}
        if self.server.key:
            headers["Authorization"] = f"Bearer {self.server.key}"
        url = f"http://127.0.0.1:{self.server.port}{self.path}"
        for rows, body in self.bodies.items():
            answer = httpx.post(url, content=body.read_bytes(), headers=headers, trust_env=False, timeout=30)
            answer.raise_for_status()
            if self.read is not None and self.expected is not None:
                np.testing.assert_allclose(self.read(answer.json()), self.expected[:rows], atol=_TOLERANCE)

    def measure(self, load: Load, seconds: float, count: int = 1) -> None:
        """Load it once; a * in its path stands for so many numbers in turn."""
        rows, clients = load
        options = [str(self.server.port), self.path, str(self.bodies[rows]), str(clients), str(seconds)]
        if self.server.key:
            options += [self.server.key, str(count)]
        before = self.server.cpu_seconds()
        command = [sys.executable, "-m", "bench.serving.load", *options]
        ended = subprocess.run(command, check=True, capture_output=True, timeout=60 + seconds)
        result: Result = json.loads(ended.stdout)
        assert not result["failed"], f"{self.name}: {result['failed']} answers were not 200"
        result["cpu"] = (self.server.cpu_seconds() - before) / result["requests"] * 1000
        result["rate"] = result["requests"] / result["seconds"]
        self.server.peak_bytes = self.server.resident_bytes("VmHWM")
        self.results.setdefault(load, []).append(result)

    def best(self, load: Load, figure: str) -> float:
        """Return the best of a figure over all rounds."""
        choose = max if figure == "rate" else min
        return choose(result[figure] for result in self.results[load])
