"""`graftwork up`: one process that starts, restarts and stops an API, a worker and an embedded broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from app.cli.broker import EmbeddedBroker
from app.cli.keys import write_first_key
from app.cli.prepare import prepare
from app.kit.files import keep_private
from app.kit.process import die_with_parent, free_port
from app.models.published import is_any_here
from app.settings import Settings

_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0
_BROKER_STOP_SECONDS = 2.0  # the broker stores nothing that could be lost
_RESTART_PAUSE_SECONDS = 1.0

Start = Callable[[], "subprocess.Popen[bytes]"]


@dataclass
class Child:
    """A process that is restarted when it dies."""

    name: str
    start: Start
    process: "subprocess.Popen[bytes] | None" = None

    def ensure(self) -> None:
        """Start the process unless it is running."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            print(f"{self.name} ended ({self.process.returncode}); starting it again", file=sys.stderr, flush=True)
            time.sleep(_RESTART_PAUSE_SECONDS)
        self.process = self.start()

    def stop(self, deadline: float) -> None:
        """Ask the process to end, and kill its group at the time `deadline`."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class _StoppedError(BaseException):
    """SIGINT or SIGTERM arrived."""


def _on_signal(*_: object) -> None:
    raise _StoppedError


def _starter(*command: str, **variables: str) -> Start:
    """Return a function that starts a command of this program in a process that dies with this one.

    The process gets this one's environment as it is then, with these variables.
    """

    def start() -> "subprocess.Popen[bytes]":
        parent = os.getpid()
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *command],
            env={**os.environ, **variables},
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 - this process has one thread
        )

    return start


def _wait_ready(url: str, api: Child) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            if api.process is not None and api.process.poll() is not None:
                break
            try:
                if client.get(f"{url}/health/ready", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    sys.exit("graftwork up: the API did not start; its messages are above.")


def run() -> int:
    """Run until SIGINT or SIGTERM; leave no process behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    settings = Settings()
    keep_private(settings.data_folder)
    port = _check_port(settings)
    children: list[Child] = []
    broker: EmbeddedBroker | None = None
    weights = Child("weights", _starter("weights"))  # works once, and is not started again
    os.environ["GRAFTWORK_PORT"] = str(port)
    os.environ["GRAFTWORK_DATA"] = str(settings.data_folder)
    try:
        if not settings.broker_url:
            broker = EmbeddedBroker(settings.data_folder)
            children.append(Child("broker", broker.start))
        key = prepare(settings, invent_key=True)
        if settings.predictor == "process":
            children.append(_predictor())
        names = ["api", *(f"api {number}" for number in range(2, settings.api_processes + 1))]
        children += [*(Child(name, _starter("api")) for name in names), Child("worker", _starter("worker"))]
        for child in children:
            child.ensure()
        url = f"http://{_reachable(settings.host)}:{port}"
        _wait_ready(url, next(child for child in children if child.name == "api"))
        _print_welcome(url, key, settings)
        if settings.bring_in_weights and is_any_here(settings.weights_folder):
            weights.process = weights.start()
        while True:
            time.sleep(0.5)
            for child in children:
                child.ensure()
    except _StoppedError:
        print("stopping", flush=True)
        return 0
    finally:
        _stop([*children, weights])
        if broker is not None:
            broker.forget()


def _predictor() -> Child:
    """Return an API of its own for predictions, which those of users ask."""
    host = "127.0.0.1"
    port = free_port(host)
    os.environ["GRAFTWORK_PREDICTOR"] = f"http://{host}:{port}"
    own = {"GRAFTWORK_PREDICTOR": "", "GRAFTWORK_API_PROCESSES": "1", "GRAFTWORK_HOST": host}
    own["GRAFTWORK_ALLOWED_HOSTS"] = json.dumps([host])
    return Child("predictor", _starter("api", "--port", str(port), **own))


def _check_port(settings: Settings) -> int:
    """Return the port to serve on. Exits where another process listens on it."""
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            sys.exit(f"graftwork up: {settings.host}:{settings.port} cannot be served ({error.strerror}); see --port.")
        port: int = probe.getsockname()[1]
        return port


def _reachable(host: str) -> str:
    """Return the address by which this machine reaches a server bound to `host`."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{address}]" if ":" in address else address


def _print_welcome(url: str, key: str | None, settings: Settings) -> None:
    print(f"Graftwork serves at {url} (the page for people; the API: {url}/docs); data in {settings.data_folder}")
    if key is not None and settings.bootstrap_key is None:
        print(f"An API key with all scopes is in {write_first_key(settings.data_folder, key)}")
    print("Ctrl-C stops everything.", flush=True)


def _stop(children: list[Child]) -> None:
    """Stop all children at the same time, but the broker last."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    deadline = time.monotonic() + _STOP_SECONDS
    for child in children:
        if child.name != "broker" and child.process is not None and child.process.poll() is None:
            child.process.terminate()
    for child in reversed(children):
        child.stop(deadline if child.name != "broker" else time.monotonic() + _BROKER_STOP_SECONDS)
