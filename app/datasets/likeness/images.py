"""Images that look the same: a difference hash finds candidates, and their thumbnails decide.

The hash (dHash, Krawetz 2013) has a bit for each of 8 x 8 cells: is the image brighter to the right? Two images are
candidates where their hashes differ in few bits. The hash alone cannot tell two handwritten 1s apart, so candidates are
near duplicates only where their 16 x 16 thumbnails correlate and their colours agree. Brightness, contrast, size and
JPEG compression change neither much. A plain image has no pattern to compare and is a near duplicate of none.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.chunks import SMALL_CHUNK_BYTES, row_chunks
from app.datasets.likeness.pairs import Ints, Pairs, neighbours

SIDE = 16
NOISE_LEVELS = 3  # of 255: a smaller difference of brightness sets no bit
MAX_TINT = 24  # levels by which a channel's mean may differ, apart from the brightness
MIN_NORM = 4.0 * SIDE  # the norm of a thumbnail that varies by 4 levels
BANDS = 4
BLOCKS = 4
CHUNK_PAIRS = 1 << 12
SIMILARITY = 0.99
# Four ways to compare one half of the 16 blocks with the other: columns of a Hadamard matrix, (16, 4).
CONTRASTS = np.array([[(-1) ** (i & j).bit_count() for j in (1, 2, 4, 8)] for i in range(16)], np.float32)
Sketches: TypeAlias = npt.NDArray[np.uint64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Bools: TypeAlias = npt.NDArray[np.bool_]


def sketch(inputs: npt.NDArray[np.uint8]) -> Sketches:
    """Return the gray thumbnails (256 bytes) and channel means (8 bytes) of images uint8 (N, H, W, C), (N, 33)."""
    rows, columns = _area_weights(inputs.shape[1], SIDE), _area_weights(inputs.shape[2], SIDE)
    sketches = [_sketch_bytes(inputs[chunk], rows, columns) for chunk in row_chunks(inputs, SMALL_CHUNK_BYTES)]
    return np.concatenate(sketches).view(np.uint64) if sketches else np.empty((0, 33), np.uint64)


def _sketch_bytes(images: npt.NDArray[Any], rows: Floats32, columns: Floats32) -> npt.NDArray[np.uint8]:
    """Return the bytes of the sketches of some images (n, H, W, C), (n, 264)."""
    channels = min(3, images.shape[3])  # the fourth is opacity
    gray = images[..., 0] if channels == 1 else images[..., :channels].mean(axis=3, dtype=np.float32)
    thumbnails = np.matmul(rows.T, np.matmul(gray.astype(np.float32), columns))  # (n, 16, 16)
    out = np.zeros((len(images), SIDE * SIDE + 8), np.uint8)
    out[:, : SIDE * SIDE] = np.rint(thumbnails).reshape(len(images), -1)
    if channels > 1:
        out[:, SIDE * SIDE : SIDE * SIDE + channels] = np.rint(images[..., :channels].mean(axis=(1, 2)))
    return out


def _area_weights(size: int, cells: int) -> Floats32:
    """Return the weights by which `size` pixels become `cells` means of equal areas, (size, cells)."""
    edges = np.arange(cells + 1) * size / cells
    pixels = np.arange(size)[:, None]
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    weights: Floats32 = (np.maximum(covered, 0) * cells / size).astype(np.float32)
    return weights


def near_pairs(sketches: Sketches, distance: int, similarity: float) -> Pairs:
    """Return the pairs of near duplicates among `sketches` (N, 33)."""
    thumbnails = _Thumbnails.of(np.ascontiguousarray(sketches).view(np.uint8))

    def are_alike(first: Ints, second: Ints) -> Bools:
        passed: Bools = np.bitwise_count(thumbnails.hashes[first] ^ thumbnails.hashes[second]) <= distance
        for start in range(0, len(first), CHUNK_PAIRS):
            here = start + np.flatnonzero(passed[start : start + CHUNK_PAIRS])
            passed[here] = thumbnails.agree(first[here], second[here], similarity)
        return passed

    return neighbours(_bands(thumbnails.hashes), are_alike, thumbnails.blocks.astype(np.float32) @ CONTRASTS)


@dataclass(frozen=True, slots=True)
class _Thumbnails:
    """Thumbnails of N images, and what is computed of them once.

    pixels uint8 (N, 256) with their mean (N,) and the norm of their pattern, i.e. of pixels - mean, (N,), 0 where there
    is none; hashes (N,); blocks int8 (N, 16): the sums over 4 x 4 blocks of the pattern, an orthogonal projection of
    it at unit length, in 1 / 127; tint (N, 3), by how much each channel is brighter than the image.
    """

    pixels: npt.NDArray[np.uint8]
    mean: Floats32
    norm: Floats32
    hashes: Sketches
    blocks: npt.NDArray[np.int8]
    tint: npt.NDArray[np.int16]

    @classmethod
    def of(cls, sketches: npt.NDArray[np.uint8]) -> "_Thumbnails":
        """Read sketches uint8 (N, 264), some rows at a time."""
        pixels, means = sketches[:, : SIDE * SIDE], sketches[:, SIDE * SIDE : SIDE * SIDE + 3].astype(np.int16)
        count = len(sketches)
        hashes, blocks = np.empty(count, np.uint64), np.empty((count, BLOCKS * BLOCKS), np.int8)
        mean, norm = np.empty(count, np.float32), np.empty(count, np.float32)
        for start in range(0, count, CHUNK_PAIRS):
            here = slice(start, start + CHUNK_PAIRS)
            values = pixels[here].astype(np.float32)
            mean[here] = values.mean(axis=1)
            norm[here] = np.sqrt(np.maximum(np.einsum("ij,ij->i", values, values) - SIDE**2 * mean[here] ** 2, 0))
            hashes[here] = _hashes(values)
            blocks[here] = _blocks(values, mean[here], norm[here])
        norm[norm <= MIN_NORM] = 0
        return cls(pixels, mean, norm, hashes, blocks, means - means.mean(axis=1, keepdims=True).astype(np.int16))

    def agree(self, first: Ints, second: Ints, similarity: float) -> Bools:
        """Return whether the images at the positions `first` (P,) and `second` (P,) look alike, (P,).

        As the blocks are a projection, patterns are at least as far apart as their blocks: most pairs are rejected by
        these, and only the rest is compared pixel by pixel. Unit vectors of correlation r are sqrt(2 (1 - r)) apart.
        """
        difference = self.blocks[first].astype(np.float32) - self.blocks[second]
        # Rounding to whole 127ths moves each of the two by at most half of BLOCKS.
        max_distance = 127 * np.sqrt(2 * (1 - similarity)) + BLOCKS
        passed: Bools = np.einsum("ij,ij->i", difference, difference) <= max_distance**2
        passed &= (self.norm[first] > 0) & (self.norm[second] > 0)
        here = np.flatnonzero(passed)
        a, b = first[here], second[here]
        passed[here] = (self._correlation(a, b) >= similarity) & (
            np.abs(self.tint[a] - self.tint[b]).max(axis=1) <= MAX_TINT
        )
        return passed

    def _correlation(self, first: Ints, second: Ints) -> Floats32:
        """Return Pearson's correlation of the pixels of each pair, (P,)."""
        a, b = self.pixels[first].astype(np.float32), self.pixels[second].astype(np.float32)
        covariance: Floats32 = np.einsum("ij,ij->i", a, b) - SIDE**2 * self.mean[first] * self.mean[second]
        return covariance / (self.norm[first] * self.norm[second])


def _blocks(values: Floats32, mean: Floats32, norm: Floats32) -> npt.NDArray[np.int8]:
    """Project patterns at unit length onto 4 x 4 blocks, (n, 16); values (n, 256), mean (n,), norm (n,)."""
    sums = values.reshape(-1, BLOCKS, BLOCKS, BLOCKS * BLOCKS).sum(axis=2).reshape(-1, BLOCKS, BLOCKS, BLOCKS)
    pattern = sums.sum(axis=3).reshape(len(values), -1) / BLOCKS - BLOCKS * mean[:, None]
    blocks: npt.NDArray[np.int8] = np.rint(127 * pattern / np.maximum(norm, 1)[:, None]).astype(np.int8)
    return blocks


def _hashes(values: Floats32) -> Sketches:
    """Return the difference hashes of thumbnails (n, 256), (n,): 8 x 9 cells, a bit where the next one is brighter."""
    cells = np.matmul(_area_weights(SIDE, 8).T, np.matmul(values.reshape(-1, SIDE, SIDE), _area_weights(SIDE, 9)))
    bits = cells[:, :, 1:] > cells[:, :, :-1] + NOISE_LEVELS
    return np.packbits(bits.reshape(-1, 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _bands(hashes: Sketches) -> npt.NDArray[np.uint16]:
    """Deal the 64 bits out to 4 keys, (N, 4): hashes that differ in at most 3 bits share one key at least."""
    bits = np.unpackbits(hashes.astype(">u8")[:, None].view(np.uint8), axis=1)
    dealt = np.ascontiguousarray(bits.reshape(-1, 64 // BANDS, BANDS).transpose(0, 2, 1))
    return np.packbits(dealt, axis=2).view(np.uint16)[:, :, 0]
