"""The whole preparation: progress, stopping, what is left behind, and what it needs to run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare
from app.ml.spec import DataSpec

from .conftest import Preparer, npz, picture, zipped

X = np.random.default_rng(7).integers(0, 256, (50, 4, 4), dtype=np.uint8)


class StoppedError(Exception):
    pass


def test_progress_rises_to_one(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_bytes(zipped({f"{k}.png": picture(k) for k in range(600)}))
    out.mkdir()
    heard: list[float] = []
    prepare(source, "a.zip", PrepareOptions(), out, Limits(), lambda fraction, _message: heard.append(fraction))
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (0.0, 1.0)
    assert len(heard) > 6


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_stopped_preparation_leaves_no_scratch_files(tmp_path: Path, after: int) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_bytes(npz(x=X))
    out.mkdir()
    calls = 0

    def stop(_fraction: float, _message: str) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        prepare(source, "a.npz", PrepareOptions(), out, Limits(), stop)
    assert {path.name for path in out.iterdir()} <= {"inputs.npy"}


def test_the_manifest_says_what_the_spec_says(make: Preparer) -> None:
    done = make(npz(x=X, y=np.arange(50) % 3))
    manifest = json.loads((done.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == 2
    assert DataSpec.model_validate(manifest["spec"]) == done.spec
    shapes = {
        name: (done.array(name).dtype.str, done.array(name).shape) for name in ("inputs", "targets", "split", "rows")
    }
    assert shapes == {
        "inputs": ("|u1", (50, 4, 4, 1)),
        "targets": ("<f8", (50, 1)),
        "split": ("|u1", (50,)),
        "rows": ("<i8", (50,)),
    }
    assert done.report.source.model_dump() == {"name": "upload", "format": "npz", "bytes": done.report.source.bytes}


def test_tables_are_float64(make: Preparer) -> None:
    done = make("a,b\n1,x\n2,y\n3,\n")
    assert done.array("inputs").dtype == np.float64
    assert done.array("inputs").shape == (3, 2)


def test_readers_need_no_torch() -> None:
    modules = "app.datasets.preparation, app.datasets.canonical.rows"
    code = f"import sys, {modules}; print({{'torch', 'sklearn'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
