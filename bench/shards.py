"""Training on 100 GB through a bounded cache of shards, beside the same rows on local disk: `python -m bench.shards`.

The 100 GB are simulated: a store answers every shard with the bytes of one, which it copies as a download is written.
On the other side all shards are files of one folder, links to that one, in the same order of rows. Both train the same
convnet over several windows of shards and take turns; throughput is rows a second by the wall, of whole windows. A
thread looks at what this process takes of memory that is its own, and at what the cache takes of the disk.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from app.artifacts import put_blob
from app.artifacts.local import LocalArtifacts
from app.datasets.opening import link_dataset
from app.datasets.shard_cache import ShardCache
from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.data.stored_rows import INPUTS, WINDOW_SHARDS, shard_file
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec
from worker.training.events import StepDone
from worker.training.run import Run, prepare

_SIDE, _BATCH = 64, 128
_SHARD_ROWS = 16 * _BATCH  # 24 MiB
_REQUEST = {
    "backbone": {"kind": "convnet", "channels": [16, 32], "features": 64},
    "method": {"kind": "autoencoder"},
    "training": {"epochs": 1, "batch_size": _BATCH, "precision": "float32"},
}


class Repeated(LocalArtifacts):
    """A store whose files are copied, as those of a bucket are; the shards of the dataset are all the same file."""

    def export(self, key: str, target: Path, *, anew: bool = False) -> None:
        """Copy a file."""
        shutil.copyfile(self.fetch(key, anew=anew), target)


def large_dataset(folder: Path, store: Repeated, gigabytes: float) -> dict[str, dict[str, object]]:
    """Store a dataset of so many GB by one of its shards; return its files by name."""
    shards = round(gigabytes * 1e9 / (_SHARD_ROWS * _SIDE * _SIDE * 3))
    rows = shards * _SHARD_ROWS
    spec = DataSpec(
        modality="image",
        shape=(_SIDE, _SIDE, 3),
        rows={"train": rows, "validation": 0, "test": 0},
        shards=(_SHARD_ROWS,) * shards,
    )
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"spec": spec.model_dump(mode="json")}))
    np.save(folder / "split.npy", np.zeros(rows, dtype=np.uint8))
    pixels = np.random.default_rng(0).integers(0, 256, (_SHARD_ROWS, _SIDE, _SIDE, 3), dtype=np.uint8)
    np.save(folder / INPUTS, pixels)
    shard = put_blob(store, folder / INPUTS).model_dump()
    small = {name: put_blob(store, folder / name).model_dump() for name in ("manifest.json", "split.npy")}
    return {**small, **{shard_file(INPUTS, number): shard for number in range(shards)}}


def training(data: ArrayData) -> Run:
    """Prepare the pretraining of a convnet."""
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(_REQUEST), data.spec).config, data)


def windows_per_second(run: Run, windows: int) -> Iterator[float]:
    """Train over a window to warm up, and then yield the rows a second of each of `windows` windows."""
    per_window = WINDOW_SHARDS * _SHARD_ROWS // _BATCH
    steps = (event for event in run.train() if isinstance(event, StepDone))
    for window in range(windows + 1):
        started_at = time.perf_counter()
        for _ in range(per_window):
            next(steps)
        if window:
            yield per_window * _BATCH / (time.perf_counter() - started_at)


@contextmanager
def watched(cache: ShardCache, folder: Path) -> Iterator[dict[str, float]]:
    """Note the most memory that was this process's own, and the most disk space of the cache, in MiB."""
    peaks, ended = {"memory": 0.0, "disk": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
            peaks["memory"] = max(peaks["memory"], own)
            sizes = [entry.lstat().st_size for entry in folder.iterdir() if entry.exists()]
            peaks["disk"] = max(peaks["disk"], sum(sizes) / 2**20, cache.held / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    yield peaks
    ended.set()
    thread.join()


def main() -> None:
    """Print the ratio, and what was taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=100)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = Repeated(folder / "store")
        files = large_dataset(folder / "dataset", store, arguments.gigabytes)
        shard_bytes = int(str(files[shard_file(INPUTS, 0)]["bytes"]))
        cache = link_dataset(store, files, folder / "job", 2 * WINDOW_SHARDS * shard_bytes)
        assert isinstance(cache, ShardCache)
        link_dataset(LocalArtifacts(store.root), {"split.npy": files["split.npy"]}, folder / "local", 1)
        for name in files:
            source = folder / "dataset" / (name if name in ("manifest.json", "split.npy") else INPUTS)
            if name != "split.npy":
                (folder / "local" / name).hardlink_to(source)
        local, cached = training(ArrayData.open(folder / "local")), training(ArrayData.open(folder / "job", cache))
        with watched(cache, folder / "job" / "shards") as peaks:
            sides = [windows_per_second(run, arguments.windows) for run in (local, cached)]
            rates = [(next(sides[0]), next(sides[1])) for _ in range(arguments.windows)]
        cache.close()
    ratio = statistics.median(through_cache / of_disk for of_disk, through_cache in rates)
    of_disk, through_cache = (statistics.median(side) for side in zip(*rates, strict=True))
    print(f"{cache.bytes / 1e9:.0f} GB in {len(files) - 2} shards: {through_cache:.0f} rows/s, on disk {of_disk:.0f}")
    print(f"through the cache / on the local disk, median of {len(rates)} windows: {ratio:.2f} (target: at least 0.90)")
    print(f"at most {peaks['disk']:.0f} MiB of disk, and {peaks['memory']:.0f} MiB of memory for both trainings")


if __name__ == "__main__":
    main()
