"""Helpers of the dataset tests: bytes in, prepared dataset or error out."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from app.datasets.errors import Code, DatasetError
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import NO_EARLIER, Earlier, prepare
from app.datasets.report import Report
from app.kit.parts import Processes
from app.ml.spec import DataSpec, WarningItem


@dataclass(frozen=True)
class Outcome:
    """A prepared dataset with its folder."""

    spec: DataSpec
    report: Report
    folder: Path
    files: list[str]

    def array(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", allow_pickle=False)
        return array

    def decision(self, field: str) -> str:
        return next(item.value for item in self.report.decisions if item.field == field)

    def warning(self, code: str) -> WarningItem:
        """Return the only warning of this code."""
        (warning,) = (item for item in self.report.warnings if item.code == code)
        return warning

    def says(self, text: str) -> bool:
        return any(text in notice for notice in self.report.notices)


Preparer = Callable[..., Outcome]
Refuser = Callable[..., DatasetError]


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes there were for each part that was worked on."""
    counts: list[int] = []
    inner = Processes.map

    def counted(self: Processes, work: Any, parts: Any) -> Iterator[Any]:
        for result in inner(self, work, parts):
            counts.append(self.count)
            yield result

    monkeypatch.setattr(Processes, "map", counted)
    return counts


@pytest.fixture
def make(tmp_path: Path) -> Preparer:
    """Prepare bytes (or CSV text) with options given by keyword."""
    count = 0

    def run(
        content: bytes | str, limits: Limits | None = None, earlier: Earlier = NO_EARLIER, **options: Any
    ) -> Outcome:
        nonlocal count
        count += 1
        source, out = tmp_path / f"source{count}", tmp_path / f"out{count}"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        out.mkdir()
        prepare_options = PrepareOptions.model_validate(options)
        progress = lambda _fraction, _message: None  # noqa: E731 - nobody listens
        done = prepare(source, "upload", prepare_options, out, limits or Limits(), progress, earlier)
        assert sorted(path.name for path in out.iterdir()) == sorted(done.files)
        Report.model_validate_json(done.report.model_dump_json())
        return Outcome(done.spec, done.report, out, done.files)

    return run


@pytest.fixture
def refused(make: Preparer) -> Refuser:
    """Prepare bytes that must be refused with a code, and return the error."""

    def run(code: Code, content: bytes | str, limits: Limits | None = None, **options: Any) -> DatasetError:
        with pytest.raises(DatasetError) as caught:
            make(content, limits, **options)
        assert caught.value.code == code, str(caught.value)
        assert caught.value.errors
        return caught.value

    return run


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (8, 6), kind: str = "PNG", **save: Any) -> bytes:
    width, height = size
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **save)
    return buffer.getvalue()
