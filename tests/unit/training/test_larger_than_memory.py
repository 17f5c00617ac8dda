"""Data that is larger than the memory one would give it: prepared and trained in a process that is watched."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Each part is a process of its own. It says by how many MB the memory that is its own (not that of mapped files, which
# the kernel takes back) grew at most after everything was imported.
WATCH = """
import sys, threading, time
from pathlib import Path
import numpy as np
import torch
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare as prepare_dataset
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData, OnDisk
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from worker.training.run import prepare

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

def watch():
    while True:
        peaks.append(own())
        time.sleep(0.01)

def resolved(config, spec):
    if isinstance(config, PretrainingConfig):
        return resolve_pretraining(config, spec).config
    return resolve_fine_tuning(config, spec, None).config

def learn(config):
    data = ArrayData.open(folder / "out")
    run = prepare(resolved(config, data.spec), data)
    for event in run.train():
        pass
    measured = run.evaluate("test")
    assert measured.rows == data.spec.rows["test"]
    run.save_bundle(folder)
    return run.examples("train").inputs

folder = Path(sys.argv[1])
torch.ones(8, 8) @ torch.ones(8, 8)
before = own()
peaks = [before]
threading.Thread(target=watch, daemon=True).start()
"""
PREPARE = """
(folder / "out").mkdir()
options = PrepareOptions.model_validate(OPTIONS)
prepare_dataset(folder / "source", "source", options, folder / "out", Limits(), lambda fraction, phase: None)
"""
TELL = """
print(max(peaks) - before)
"""


def grown(folder: Path, code: str) -> float:
    """By how many MB the process grew."""
    script = WATCH + code + TELL
    # Without a threshold that grows, the allocator gives back what is freed, so that the growth is the same each time.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def write_array(path: Path, shape: tuple[int, ...], dtype: type) -> float:
    """Write rows that all differ, in pieces; returns their MB."""
    random = np.random.default_rng(0)
    pattern = random.integers(0, 256, shape[1:])
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    for start in range(0, len(array), 1000):
        level = random.integers(0, 64, (len(array[start : start + 1000]), *[1] * (len(shape) - 1)))
        piece = (pattern[None] + level) % 256
        piece[:, :8] = random.integers(0, 256, piece[:, :8].shape)
        array[start : start + 1000] = piece
    array.flush()
    return array.nbytes / 2**20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_images_are_prepared_and_trained_on_within_a_fraction_of_their_size(tmp_path: Path) -> None:
    size = write_array(tmp_path / "source", (30_000, 64, 64, 3), np.uint8)
    assert size > 350
    assert grown(tmp_path, PREPARE.replace("OPTIONS", "{}")) < 200
    code = """
config = {"backbone": {"kind": "mlp", "hidden": [8]}, "method": {"kind": "autoencoder"}, "training": {"epochs": 1}}
assert isinstance(learn(PretrainingConfig.model_validate(config)), OnDisk)
"""
    # Of 1,400 MB as float32. The validation rows are kept, 141 MB, and some five blocks of 48 MB live while measuring.
    assert grown(tmp_path, code) < 450


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tables_are_prepared_and_trained_on_within_a_fraction_of_their_size(tmp_path: Path) -> None:
    size = write_array(tmp_path / "source", (50_000, 900), np.float32)
    assert size > 170
    assert grown(tmp_path, PREPARE.replace("OPTIONS", "{}")) < 150
    code = """
import app.ml.data.arrays
app.ml.data.arrays.MAX_BYTES_IN_MEMORY = 64 << 20
config = {"backbone": {"kind": "mlp", "hidden": [8]}, "method": {"kind": "autoencoder"},
          "training": {"epochs": 1, "batch_size": 1024}}
assert isinstance(learn(PretrainingConfig.model_validate(config)), OnDisk)
"""
    assert grown(tmp_path, code) < 150


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_csv_waits_on_disk_while_it_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    with (tmp_path / "source").open("w") as file:
        file.write(",".join(f"c{place}" for place in range(100)) + "\n")
        for _ in range(40):
            rows = (random.random((1000, 100)) * 1e6).round(7).tolist()
            file.write("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    assert (tmp_path / "source").stat().st_size / 2**20 > 50
    assert grown(tmp_path, PREPARE.replace("OPTIONS", "{}")) < 130  # of some 250 MB as text in memory; pieces take most
