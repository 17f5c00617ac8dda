"""Preparations by one process and by several, and of a version with more images: `python -m bench.preparation`.

    images  a zip of JPEG files of 640 x 480, resized to 96 x 96
    table   columns of numbers and of categories, as Parquet
    csv     columns of numbers, categories, days and times
    jsonl   ten columns of numbers, categories and labels, as JSON Lines
    version the zip of images, of which an earlier dataset holds all but the last tenth

Both sides take turns, and their files must be the same to the byte. Besides the ratio by the wall, from which all
takes that runs beside them, stands that of CPU seconds: those of one process alone / those that the longer of two
chains takes, this process or an equal share of all work on every core. That is what idle cores would give.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyarrow import csv

from app.datasets.canonical.fingerprints import OWN_FILES
from app.datasets.canonical.rows import open_inputs
from app.datasets.frames.decodings import DECODINGS, EarlierImages
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import NO_EARLIER, Earlier, prepare

KINDS = ("images", "version", "table", "csv", "jsonl")


def write_images(path: Path, count: int) -> None:
    """Write a zip of smooth pictures of two classes."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            buffer = io.BytesIO()
            coarse.resize((640, 480)).save(buffer, format="JPEG", quality=90)
            archive.writestr(f"{'ab'[number % 2]}/{number}.jpg", buffer.getvalue())


def write_table(path: Path, rows: int) -> None:
    """Write 40 columns of numbers, one of categories, and a target."""
    random = np.random.default_rng(0)
    columns = {f"c{number}": random.normal(size=rows) for number in range(40)}
    kinds = np.array(["red", "green", "blue"])[random.integers(0, 3, rows)]
    pq.write_table(pa.table({**columns, "kind": kinds, "label": random.integers(0, 2, rows).astype(str)}), path)


def write_csv(path: Path, rows: int) -> None:
    """Write 14 columns of numbers, three of categories, one of days, one of times, and a target."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {f"c{number}": np.round(random.normal(size=rows), 4) for number in range(9)}
    columns |= {f"n{number}": random.integers(0, 10**6, rows) for number in range(5)}
    kinds = np.array([f"kind {number}" for number in range(20)])
    columns |= {f"k{number}": kinds[random.integers(0, 4 + 8 * number, rows)] for number in range(3)}
    columns["day"] = (np.datetime64("2015-01-01") + random.integers(0, 4000, rows)).astype(str)
    columns["time"] = (np.datetime64("2015-01-01T00:00:00") + random.integers(0, 4000 * 86_400, rows)).astype(str)
    csv.write_csv(pa.table({**columns, "label": random.integers(0, 2, rows).astype(str)}), path)


def write_jsonl(path: Path, rows: int) -> None:
    """Write six columns of numbers, two of categories, one of true and false, and a target."""
    random = np.random.default_rng(0)
    columns = {f"c{number}": np.round(random.normal(size=rows), 4).tolist() for number in range(4)}
    columns |= {f"n{number}": random.integers(0, 10**6, rows).tolist() for number in range(2)}
    columns |= {f"k{number}": [f"kind {kind}" for kind in random.integers(0, 20, rows)] for number in range(2)}
    columns |= {"flag": (random.integers(0, 2, rows) == 1).tolist(), "label": random.integers(0, 2, rows).astype(str)}
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*columns.values(), strict=True):
            file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")


WRITERS = {"table": write_table, "csv": write_csv, "jsonl": write_jsonl}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the wall, and CPU seconds of this process and of those that it started."""

    wall: float
    own: float
    others: float

    @classmethod
    def now(cls) -> "Cost":
        """What was used until now."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.perf_counter(), time.process_time(), children.ru_utime + children.ru_stime)

    def since(self, start: "Cost") -> "Cost":
        """What was used since `start`."""
        return Cost(self.wall - start.wall, self.own - start.own, self.others - start.others)

    def chain(self, processes: int) -> float:
        """CPU seconds one after the other at least, on so many idle cores."""
        return max(self.own, (self.own + self.others) / processes)


def prepared(
    source: Path, options: PrepareOptions, processes: int, earlier: Earlier = NO_EARLIER
) -> tuple[Cost, dict[str, str]]:
    """Prepare a file; return what it cost, and the digest of each file that it became."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        started_at = Cost.now()
        prepare(source, source.name, options, out, Limits(), _ignore, earlier, processes)
        cost = Cost.now().since(started_at)
        return cost, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def compare(name: str, source: Path, options: PrepareOptions, processes: int, pairs: int) -> None:
    """Print how much faster several processes are."""
    costs: list[tuple[Cost, Cost]] = []
    for _ in range(pairs):
        (alone, expected), (together, files) = prepared(source, options, 1), prepared(source, options, processes)
        assert files == expected, "the number of processes has changed what was prepared"
        costs.append((alone, together))
    least = min(alone.wall for alone, _ in costs) / min(together.wall for _, together in costs)
    wall = statistics.median(alone.wall / together.wall for alone, together in costs)
    cpu = statistics.median(alone.own / together.chain(processes) for alone, together in costs)
    print(f"{name}: {processes} processes are {wall:.2f} x as fast by the wall ({least:.2f} x by the least times)")
    print(f"  and {cpu:.2f} x by CPU seconds", flush=True)
    for alone, together in costs:
        print(f"  {alone} / {together}", flush=True)


def compare_version(first: Path, grown: Path, options: PrepareOptions, pairs: int) -> None:
    """Print how much faster a grown source is prepared as a version of a dataset that was prepared from the first."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        spec = prepare(first, first.name, options, out, Limits(), _ignore).spec
        keys, digests, sketches = (np.load(out / name) for name in (DECODINGS, *OWN_FILES))
        images = EarlierImages("first", keys, digests, sketches, lambda: open_inputs(out, spec))
        costs: list[tuple[Cost, Cost]] = []
        for _ in range(pairs):
            (anew, expected), (version, files) = (
                prepared(grown, options, 1, earlier) for earlier in (NO_EARLIER, Earlier(images=images))
            )
            assert files == expected, "what was taken over has changed what was prepared"
            costs.append((anew, version))
    wall = statistics.median(anew.wall / version.wall for anew, version in costs)
    cpu = statistics.median(anew.own / version.own for anew, version in costs)
    print(f"version: {wall:.2f} x as fast as preparing all anew by the wall, {cpu:.2f} x by CPU seconds", flush=True)


def _ignore(fraction: float, phase: str) -> None:
    """Nobody follows the progress."""


def main() -> None:
    """Print the ratio of each kind of data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        small = PrepareOptions.model_validate({"image": {"height": 96, "width": 96}})
        target = PrepareOptions.model_validate({"columns": {"label": "target"}})
        for kind in arguments.kinds:
            if kind in {"images", "version"}:
                write_images(source, arguments.images)
            else:
                WRITERS[kind](source, arguments.rows)
            if kind == "version":
                fewer = Path(folder) / "fewer.zip"
                write_images(fewer, arguments.images * 9 // 10)  # the first ones are the same
                compare_version(fewer, source, small, arguments.pairs)
            else:
                options = small if kind == "images" else target
                compare(kind, source, options, arguments.processes, arguments.pairs)


if __name__ == "__main__":
    main()
