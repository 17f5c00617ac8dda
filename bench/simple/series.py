"""Series: GunPoint, BasicMotions, JapaneseVowels and PLAID as sktime's wheel holds them, and MNIST-1D."""

from functools import partial
from pathlib import Path

import numpy as np
from sources import Array, mnist1d

from bench.simple.files import arrays, json_lines, long_csv
from bench.simple.packages import wheel
from bench.simple.sets import Count, FileFormat, Set, Source

IN_SKTIME: dict[str, tuple[FileFormat, int]] = {  # its file, and how many labels a class are few
    "GunPoint": (arrays, 10),
    "BasicMotions": (json_lines, 5),
    "JapaneseVowels": (long_csv, 10),
    "PLAID": (json_lines, 10),
}


def sources() -> dict[str, Source]:
    """Return what reads each set."""
    return {**{name: partial(_of_sktime, name) for name in IN_SKTIME}, "MNIST-1D": _mnist1d}


def read_ts(text: str) -> tuple[list[Array], list[str]]:
    """Read the .ts format: series (T, C) and their labels. A line is a row: its channels, then its label, by colons."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "@"))]
    parts = [line.split(":") for line in lines]
    rows = [np.array([channel.split(",") for channel in channels], dtype=float).T for *channels, _ in parts]
    return rows, [label for *_, label in parts]


def _of_sktime(name: str, _data: Path, cache: Path) -> Set:
    with wheel(cache, "sktime") as file:
        folder = f"sktime/datasets/data/{name}/{name}"
        (rows, y), (test_rows, test_y) = (
            read_ts(file.read(f"{folder}_{part}.ts").decode()) for part in ("TRAIN", "TEST")
        )
    form, few_labels = IN_SKTIME[name]
    return _series(name, rows, y, test_rows, test_y, form, (Count(per_class=few_labels), Count()))


def _mnist1d(data: Path, _cache: Path) -> Set:
    read = mnist1d(data)
    rows, test_rows = ([row[:, None].astype(float) for row in part] for part in (read.x, read.test_x))
    counts = (Count(per_class=10), Count(per_class=100))
    return _series("MNIST-1D", rows, list(map(str, read.y)), test_rows, list(map(str, read.test_y)), arrays, counts)


def _series(
    name: str,
    rows: list[Array],
    y: list[str],
    test_rows: list[Array],
    test_y: list[str],
    form: FileFormat,
    counts: tuple[Count, ...],
) -> Set:
    test = np.arange(len(rows), len(rows) + len(test_rows))
    return Set(name, "series", [*rows, *test_rows], np.array([*y, *test_y]), counts, form, test=test)
