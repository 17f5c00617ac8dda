"""Preparations by several processes: the same files to the byte, the same faults, and no process that stays."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from app.datasets.errors import DatasetError
from app.datasets.frames import chunks
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import Prepared, prepare
from app.datasets.readers import images as image_reader
from app.kit.parts import Processes
from tests.support.servers import wait_until


@pytest.fixture(autouse=True)
def _nothing_is_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_MIN_BYTES", 0)
    monkeypatch.setattr(chunks, "SMALL_CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr(chunks, "_PART_BYTES", 1 << 14)
    monkeypatch.setattr(chunks, "_MIN_TEXT_BYTES", 0)
    monkeypatch.setattr(chunks, "_TEXT_PART_BYTES", 1 << 12)
    monkeypatch.setattr(image_reader, "_MIN_PIXELS", 0)
    monkeypatch.setattr(image_reader, "_PART_IMAGES", 7)


def pictures(*, damaged: bool = False) -> bytes:
    random, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(90):
            image = Image.fromarray(random.integers(0, 256, (20 + number % 3, 30, 3), dtype=np.uint8))
            file = io.BytesIO()
            image.save(file, format="JPEG" if number % 2 else "PNG")
            content = file.getvalue()
            if damaged and number % 10 == 3:  # their headers are sound
                content = content[: len(content) // 2]
            archive.writestr(f"{'ab'[number % 2]}/{number:03}.{'jpg' if number % 2 else 'png'}", content)
    return buffer.getvalue()


def table() -> bytes:
    random = np.random.default_rng(0)
    lines = [
        ",".join([*(f"{value:.5f}" for value in random.normal(size=9)), ("red", "blue")[i % 2], str(i % 3)])
        for i in range(600)
    ]
    return ("\n".join([",".join([*(f"c{i}" for i in range(9)), "kind", "label"]), *lines, *lines[:20]]) + "\n").encode()


def series() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.random.default_rng(0).normal(size=(120, 50, 2)))
    return buffer.getvalue()


def texts() -> bytes:
    random = np.random.default_rng(0)
    words = np.array(["naïve", "Straße", "ﬁne", "日本語", "of", "the", "\uff26\uff35\uff2c", "\u200d", "x" * 40])
    lines = [" ".join(random.choice(words, random.integers(1, 40))) for _ in range(500)]
    lines += ["long " * 2000, *lines[:20], lines[3].upper()]  # one is longer than a part
    return "".join(json.dumps({"text": line}) + "\n" for line in lines).encode()


UPLOADS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "images": (pictures(), {}),
    "damaged images": (pictures(damaged=True), {"image": {"height": 16, "width": 24}}),
    "table": (table(), {"columns": {"label": "target"}}),
    "series": (series(), {"modality": "series"}),
    "texts": (texts(), {"modality": "text"}),
}


def prepared(
    folder: Path, content: bytes, options: dict[str, Any], processes: int
) -> tuple[Prepared, dict[str, bytes]]:
    source, out = folder / "source", folder / f"out{processes}"
    source.write_bytes(content)
    out.mkdir()
    chosen = PrepareOptions.model_validate(options)
    done = prepare(source, "source", chosen, out, Limits(), lambda _fraction, _phase: None, processes=processes)
    return done, {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("upload", UPLOADS)
def test_the_number_of_processes_changes_no_byte(upload: str, tmp_path: Path, worked: list[int]) -> None:
    content, options = UPLOADS[upload]
    (alone, expected), (together, files) = (prepared(tmp_path, content, options, count) for count in (1, 2))
    assert files == expected
    assert (together.spec, together.report) == (alone.spec, alone.report)
    assert worked.count(2) > 3, "the work was cut into parts"
    if upload == "damaged images":
        assert together.report.rows.removed["corrupt"] == 9


def test_a_fault_is_the_one_that_comes_first(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(30):
            archive.writestr(f"{number:02}.png", b"no image" if number > 4 else pictures()[:200])
    messages = []
    for count in (1, 2):
        with pytest.raises(DatasetError) as caught:
            prepared(tmp_path, buffer.getvalue(), {}, count)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def fails_at(number: int) -> int:
    """Return the number, or fail."""
    if number in {3, 5}:
        msg = f"part {number}"
        raise ValueError(msg)
    return number


def test_results_come_in_order_and_what_is_raised_in_its_turn() -> None:
    with Processes(2) as processes:
        results = processes.map(fails_at, range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="part 3"):
            next(results)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def kills_its_process(part: tuple[int, int]) -> int:
    """Return the number; a process that is not this one is killed at the third."""
    number, parent = part
    if number == 3 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_process_leaves_its_parts_to_this_one() -> None:
    with Processes(2) as processes:
        numbers = list(processes.map(kills_its_process, [(number, os.getpid()) for number in range(20)]))
    assert numbers == list(range(20))


SCRIPT = """
import time
from app.kit.parts import Processes
if __name__ == "__main__":
    with Processes(2) as processes:
        for _ in processes.map(time.sleep, [0, 0, 600, 600]):
            print("begun", flush=True)
"""


def test_processes_die_with_the_one_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), "the children")
