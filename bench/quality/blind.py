"""Checks that no test label reaches a job: permuting the test labels changes no byte of any model.

A row runs on the data, and on a copy of its folder with permuted test labels. Trainings are reproducible bit for bit,
so every file of every model, in order, must have the same hash.
"""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sources import DEBIAN

Digests = Sequence[Mapping[str, str]]  # of each model in order: {file name: SHA-256}

SETS = ("fashion-mnist", "mnist")


def permuted(data: Path, target: Path) -> Path:
    """Fill the empty folder `target` with the sets of `data`, with permuted test labels; return the folder."""
    for folder in (DEBIAN, data):
        for path in (path for path in folder.rglob("*") if path.is_file()):
            place = target / path.relative_to(folder)
            if folder == DEBIAN and place.parent.name not in SETS:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # a set in `data` replaces the package's
            _write(path, place)
    return target


def differences(first: Digests, second: Digests) -> list[str]:
    """Return which files of which models differ between two runs; none should."""
    if len(first) != len(second):
        return [f"{len(first)} models and {len(second)}"]
    return [
        f"{name} of model {index}"
        for index, (files, others) in enumerate(zip(first, second, strict=True))
        for name in sorted(files.keys() | others.keys())
        if files.get(name) != others.get(name)
    ]


def _write(path: Path, place: Path) -> None:
    """Link a file, or write it with its test labels permuted."""
    if "t10k-labels" in path.name:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        labels = np.frombuffer(content, np.uint8, offset=8)
        place.with_suffix("").write_bytes(content[:8] + np.random.default_rng(0).permutation(labels).tobytes())
    elif path.name == "mnist1d.npz":
        with np.load(path, allow_pickle=False) as arrays:
            np.savez(place, **{**arrays, "y_test": np.random.default_rng(0).permutation(arrays["y_test"])})
    elif path.parts[-2:] == ("banking77", "test.csv"):
        _write_queries(path, place)
    else:
        place.symlink_to(path.resolve())


def _write_queries(path: Path, place: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.random.default_rng(0).permutation([row["category"] for row in rows])
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "category": label} for row, label in zip(rows, labels, strict=True))
