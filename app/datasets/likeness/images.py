"""Pictures that look the same: a difference hash finds candidates, their thumbnails decide.

The hash (dHash, Krawetz 2013) has a bit for each of 8 x 8 places: is the picture brighter to the right? Two pictures
are candidates where their hashes differ in few bits. The hash alone mistakes one written 1 for another, so candidates
are near duplicates only where their thumbnails of 16 x 16 correlate and their colours agree. Brightness, contrast,
size and the losses of JPEG change neither much. A plain picture has no pattern to compare and is like no other.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.digests import pieces
from app.datasets.likeness.pairs import Ints, Pairs, neighbours

SIDE = 16
MARGIN = 3  # levels of 255; less is noise
COLOUR = 24  # levels by which a channel's mean may differ, beside the brightness
PLAIN = 4.0 * SIDE  # the norm of a thumbnail that varies by 4 levels
BANDS = 4
BLOCKS = 4
CHUNK = 1 << 12
PIECE_BYTES = 1 << 20  # what a processor keeps near
SIMILARITY = 0.99
# How much brighter one half of the blocks is than the other, in four ways: rows of a Hadamard matrix.
CONTRASTS = np.array([[(-1) ** (i & j).bit_count() for j in (1, 2, 4, 8)] for i in range(16)], np.float32)
Sketches: TypeAlias = npt.NDArray[np.uint64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Bools: TypeAlias = npt.NDArray[np.bool_]


def sketch(inputs: npt.NDArray[np.uint8]) -> Sketches:
    """Return the gray thumbnail (256 bytes) and the means of the channels (8 bytes) of uint8 (N, H, W, C), (N, 33)."""
    rows, columns = _areas(inputs.shape[1], SIDE), _areas(inputs.shape[2], SIDE)
    found = [_bytes_of(piece, rows, columns) for piece in pieces(inputs, PIECE_BYTES)]
    return np.concatenate(found).view(np.uint64) if found else np.empty((0, 33), np.uint64)


def _bytes_of(piece: npt.NDArray[Any], rows: Floats32, columns: Floats32) -> npt.NDArray[np.uint8]:
    channels = min(3, piece.shape[3])  # the fourth is no colour
    gray = piece[..., 0] if channels == 1 else piece[..., :channels].mean(axis=3, dtype=np.float32)
    small = np.matmul(rows.T, np.matmul(gray.astype(np.float32), columns))
    out = np.zeros((len(piece), SIDE * SIDE + 8), np.uint8)
    out[:, : SIDE * SIDE] = np.rint(small).reshape(len(piece), -1)
    if channels > 1:
        out[:, SIDE * SIDE : SIDE * SIDE + channels] = np.rint(piece[..., :channels].mean(axis=(1, 2)))
    return out


def _areas(size: int, cells: int) -> Floats32:
    """Return the weights by which `size` pixels become `cells` means of equal areas, (size, cells)."""
    edges = np.arange(cells + 1) * size / cells
    pixels = np.arange(size)[:, None]
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    weights: Floats32 = (np.maximum(covered, 0) * cells / size).astype(np.float32)
    return weights


def pairs(sketches: Sketches, distance: int, similarity: float) -> Pairs:
    """Return the pairs of near duplicates among `sketches` (N, 33)."""
    looks = _Looks.of(np.ascontiguousarray(sketches).view(np.uint8))

    def alike(first: Ints, second: Ints) -> Bools:
        passed: Bools = np.bitwise_count(looks.hashes[first] ^ looks.hashes[second]) <= distance
        for start in range(0, len(first), CHUNK):
            here = start + np.flatnonzero(passed[start : start + CHUNK])
            passed[here] = looks.agree(first[here], second[here], similarity)
        return passed

    return neighbours(_bands(looks.hashes), alike, looks.blocks.astype(np.float32) @ CONTRASTS)


@dataclass(frozen=True, slots=True)
class _Looks:
    """What is compared of N pictures.

    thumbnails uint8 (N, 256) with their mean and the norm of their pattern (N,), 0 where there is none; hashes (N,);
    blocks int8 (N, 16), the means of 4 x 4 blocks of the pattern at unit length, in 1 / 127; tint (N, 3), by how much
    each channel is brighter than the picture.
    """

    thumbnails: npt.NDArray[np.uint8]
    mean: Floats32
    norm: Floats32
    hashes: Sketches
    blocks: npt.NDArray[np.int8]
    tint: npt.NDArray[np.int16]

    @classmethod
    def of(cls, sketches: npt.NDArray[np.uint8]) -> "_Looks":
        """Read sketches uint8 (N, 264), in pieces of bounded size."""
        thumbnails, means = sketches[:, : SIDE * SIDE], sketches[:, SIDE * SIDE : SIDE * SIDE + 3].astype(np.int16)
        count = len(sketches)
        hashes, blocks = np.empty(count, np.uint64), np.empty((count, BLOCKS * BLOCKS), np.int8)
        mean, norm = np.empty(count, np.float32), np.empty(count, np.float32)
        for start in range(0, count, CHUNK):
            here = slice(start, start + CHUNK)
            values = thumbnails[here].astype(np.float32)
            mean[here] = values.mean(axis=1)
            norm[here] = np.sqrt(np.maximum(np.einsum("ij,ij->i", values, values) - SIDE**2 * mean[here] ** 2, 0))
            hashes[here] = _hashes(values)
            blocks[here] = _blocks(values, mean[here], norm[here])
        norm[norm <= PLAIN] = 0
        return cls(thumbnails, mean, norm, hashes, blocks, means - means.mean(axis=1, keepdims=True).astype(np.int16))

    def agree(self, first: Ints, second: Ints, similarity: float) -> Bools:
        """Say which pairs look alike. Blocks are a projection: patterns are at least as far apart as their blocks."""
        apart = self.blocks[first].astype(np.float32) - self.blocks[second]
        reach = 127 * np.sqrt(2 * (1 - similarity)) + BLOCKS  # the rounding moves either end by at most half of that
        passed: Bools = np.einsum("ij,ij->i", apart, apart) <= reach**2
        passed &= (self.norm[first] > 0) & (self.norm[second] > 0)
        here = np.flatnonzero(passed)
        a, b = first[here], second[here]
        passed[here] = (self._correlation(a, b) >= similarity) & (
            np.abs(self.tint[a] - self.tint[b]).max(axis=1) <= COLOUR
        )
        return passed

    def _correlation(self, first: Ints, second: Ints) -> Floats32:
        a, b = self.thumbnails[first].astype(np.float32), self.thumbnails[second].astype(np.float32)
        shared: Floats32 = np.einsum("ij,ij->i", a, b) - SIDE**2 * self.mean[first] * self.mean[second]
        return shared / (self.norm[first] * self.norm[second])


def _blocks(values: Floats32, mean: Floats32, norm: Floats32) -> npt.NDArray[np.int8]:
    sums = values.reshape(-1, BLOCKS, BLOCKS, BLOCKS * BLOCKS).sum(axis=2).reshape(-1, BLOCKS, BLOCKS, BLOCKS)
    pattern = sums.sum(axis=3).reshape(len(values), -1) / BLOCKS - BLOCKS * mean[:, None]
    blocks: npt.NDArray[np.int8] = np.rint(127 * pattern / np.maximum(norm, 1)[:, None]).astype(np.int8)
    return blocks


def _hashes(values: Floats32) -> Sketches:
    cells = np.matmul(_areas(SIDE, 8).T, np.matmul(values.reshape(-1, SIDE, SIDE), _areas(SIDE, 9)))
    bits = cells[:, :, 1:] > cells[:, :, :-1] + MARGIN
    return np.packbits(bits.reshape(-1, 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _bands(hashes: Sketches) -> npt.NDArray[np.uint16]:
    """Deal the 64 bits out to 4 keys, (N, 4): hashes that differ in up to 3 bits share at least one."""
    bits = np.unpackbits(hashes.astype(">u8")[:, None].view(np.uint8), axis=1)
    dealt = np.ascontiguousarray(bits.reshape(-1, 64 // BANDS, BANDS).transpose(0, 2, 1))
    return np.packbits(dealt, axis=2).view(np.uint16)[:, :, 0]
