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

from app.datasets.digests import pieces
from app.datasets.likeness.pairs import Ints, Pairs, neighbours

SIDE = 16
MARGIN = 3  # levels of 255; less is noise
COLOUR = 24  # levels by which a channel's mean may differ, beside the brightness
PLAIN = 2.0 * SIDE  # the norm of a thumbnail that varies by 2 levels
BANDS = 4
BLOCKS = 4
CHUNK = 1 << 16
ROUNDING = 1e-4
SIMILARITY = 0.99
Sketches: TypeAlias = npt.NDArray[np.uint64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Bools: TypeAlias = npt.NDArray[np.bool_]


def sketch(inputs: npt.NDArray[np.uint8]) -> Sketches:
    """Return the gray thumbnail (256 bytes) and the means of the channels (8 bytes) of uint8 (N, H, W, C), (N, 33)."""
    rows, columns = _areas(inputs.shape[1], SIDE), _areas(inputs.shape[2], SIDE)
    found = [_bytes_of(piece, rows, columns) for piece in pieces(inputs)]
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

    return neighbours(_bands(looks.hashes), alike)


@dataclass(frozen=True, slots=True)
class _Looks:
    """What is compared of N pictures.

    thumbnails uint8 (N, 256); hashes (N,); coarse (N, 16), the means of 4 x 4 blocks of the pattern at unit length;
    tint (N, 3), by how much each channel is brighter than the picture; plain (N,), which have no pattern.
    """

    thumbnails: npt.NDArray[np.uint8]
    hashes: Sketches
    coarse: Floats32
    tint: npt.NDArray[np.int16]
    plain: Bools

    @classmethod
    def of(cls, sketches: npt.NDArray[np.uint8]) -> "_Looks":
        """Read sketches uint8 (N, 264), in pieces of bounded size."""
        thumbnails, means = sketches[:, : SIDE * SIDE], sketches[:, SIDE * SIDE : SIDE * SIDE + 3].astype(np.int16)
        count = len(sketches)
        hashes, plain = np.empty(count, np.uint64), np.empty(count, np.bool_)
        coarse = np.empty((count, BLOCKS * BLOCKS), np.float32)
        for start in range(0, count, CHUNK):
            here = slice(start, start + CHUNK)
            hashes[here] = _hashes(thumbnails[here])
            coarse[here], plain[here] = _coarse(thumbnails[here])
        return cls(thumbnails, hashes, coarse, means - means.mean(axis=1, keepdims=True).astype(np.int16), plain)

    def agree(self, first: Ints, second: Ints, similarity: float) -> Bools:
        """Say which pairs look alike; blocks are a projection, so what differs in them differs in full (2 - 2 r)."""
        passed: Bools = ~(self.plain[first] | self.plain[second])
        passed &= ((self.coarse[first] - self.coarse[second]) ** 2).sum(axis=1) <= 2 * (1 - similarity) + ROUNDING
        here = np.flatnonzero(passed)
        a, b = first[here], second[here]
        passed[here] = (_correlation(self.thumbnails[a], self.thumbnails[b]) >= similarity) & (
            np.abs(self.tint[a] - self.tint[b]).max(axis=1) <= COLOUR
        )
        return passed


def _coarse(thumbnails: npt.NDArray[np.uint8]) -> tuple[Floats32, Bools]:
    pattern = _patterns(thumbnails)
    norms = np.linalg.norm(pattern, axis=1)
    unit = (pattern / np.maximum(norms, 1)[:, None]).reshape(-1, BLOCKS, BLOCKS, BLOCKS, BLOCKS)
    return unit.sum(axis=(2, 4)).reshape(len(unit), -1) / BLOCKS, norms <= PLAIN


def _patterns(thumbnails: npt.NDArray[np.uint8]) -> Floats32:
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values


def _hashes(thumbnails: npt.NDArray[np.uint8]) -> Sketches:
    square = thumbnails.reshape(-1, SIDE, SIDE).astype(np.float32)
    cells = np.matmul(_areas(SIDE, 8).T, np.matmul(square, _areas(SIDE, 9)))
    bits = cells[:, :, 1:] > cells[:, :, :-1] + MARGIN
    return np.packbits(bits.reshape(-1, 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _bands(hashes: Sketches) -> npt.NDArray[np.uint16]:
    """Deal the 64 bits out to 4 keys, (N, 4): hashes that differ in up to 3 bits share at least one."""
    bits = np.unpackbits(hashes.astype(">u8")[:, None].view(np.uint8), axis=1)
    dealt = np.ascontiguousarray(bits.reshape(-1, 64 // BANDS, BANDS).transpose(0, 2, 1))
    return np.packbits(dealt, axis=2).view(np.uint16)[:, :, 0]


def _correlation(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> Floats32:
    a, b = _patterns(first), _patterns(second)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    correlation: Floats32 = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1)
    return correlation
