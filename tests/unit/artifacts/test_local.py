"""A key of the local store is seen with all of its bytes, or not at all: whatever ends its writer, whoever reads."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.artifacts.local import LocalArtifacts
from app.errors import CorruptError

KEY = "jobs/1/t1/s1"
OLD, NEW = b"old" * 1000, b"new" * 2000


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifacts:
    return LocalArtifacts(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(NEW)
    return path


@pytest.fixture(params=[True, False], ids=["linked", "copied"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system has hard links."""

    def refuse(*_: object) -> None:
        raise OSError

    if not request.param:
        monkeypatch.setattr("os.link", refuse)
    return bool(request.param)


def seen(store: LocalArtifacts) -> bytes | None:
    """What a reader gets, None where there is no such key."""
    try:
        return store.fetch(KEY).read_bytes()
    except CorruptError:
        assert [entry.key for entry in store.entries()] == []
        return None


def watch(monkeypatch: pytest.MonkeyPatch, module: object, name: str, look: Callable[[], None]) -> None:
    """Look at each call of a function, before it is made."""
    function = getattr(module, name)

    def watched(*arguments: object) -> object:
        look()
        return function(*arguments)

    monkeypatch.setattr(module, name, watched)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("before", [None, OLD])
def test_a_reader_sees_nothing_new_until_the_bytes_are_durable(
    store: LocalArtifacts, source: Path, before: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if before is not None:
        (tmp_path / "old").write_bytes(before)
        store.put(KEY, tmp_path / "old")
    read: list[bytes | None] = []
    watch(monkeypatch, os, "fsync", lambda: read.append(seen(store)))
    store.put(KEY, source)
    assert read == [before, NEW], "first the file is made durable, then its name"
    assert seen(store) == NEW


@pytest.mark.parametrize("before", [None, OLD])
def test_a_copy_that_fails_half_way_leaves_what_was_there(
    store: LocalArtifacts, source: Path, before: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if before is not None:
        (tmp_path / "old").write_bytes(before)
        store.put(KEY, tmp_path / "old")
    read: list[bytes | None] = []

    def refuse(*_: object) -> None:
        raise OSError

    def copy_half(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        read.append(seen(store))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr(shutil, "copyfile", copy_half)
    with pytest.raises(OSError, match="No space"):
        store.put(KEY, source)
    assert read == [before]
    assert seen(store) == before
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == (before is not None)


KILLED = """
import os, signal, sys
from pathlib import Path
from app.artifacts.local import LocalArtifacts

def refuse(*_):
    raise OSError

if sys.argv[3] == "copied":
    os.link = refuse
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
LocalArtifacts(Path(sys.argv[1])).put("jobs/1/t1/s1", Path(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["linked", "copied"])
@pytest.mark.parametrize("before", [None, OLD])
def test_a_writer_that_is_killed_leaves_what_was_there(
    store: LocalArtifacts, source: Path, before: bytes | None, how: str, tmp_path: Path
) -> None:
    if before is not None:
        (tmp_path / "old").write_bytes(before)
        store.put(KEY, tmp_path / "old")
    command = [sys.executable, "-c", KILLED, str(store.root), str(source), how]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert seen(store) == before
    store.put(KEY, source)
    assert seen(store) == NEW
