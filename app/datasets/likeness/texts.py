"""Texts that are nearly the same: MinHash over character 5-shingles, and equality once normalised.

MinHash (Broder 1997): the share of hash functions under which two texts have the same smallest shingle estimates the
Jaccard similarity of their shingles. One function gives all 64 values (one permutation hashing, Li, Owen and Zhang
2012): its range is cut into 64 bins and the smallest value of each is kept; an empty bin copies the next one that is
not empty, plus an offset (densification, Shrivastava and Li 2014). Case and the kind and number of blanks are ignored.
"""

import unicodedata
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.digests import group_ids
from app.datasets.frames.texts import Texts
from app.datasets.likeness.pairs import Ints, Pairs, neighbours

SHINGLE = 5
BINS = 64
WORDS = BINS // 4
BANDS = 8
BATCH_CHARS = 1 << 21
SIMILARITY = 0.9
EMPTY = np.uint32(1 << 31)  # above every 16-bit value
DENSIFICATION_OFFSET = np.uint32(0x9E37)
FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
Sketches: TypeAlias = npt.NDArray[np.uint64]


def sketch(texts: Texts) -> Sketches:
    """Return 64 MinHash values of 16 bits (16 words) and a hash of the whole normalised text (1 word), (N, 17)."""
    sketches = [np.empty((0, WORDS + 1), np.uint64)]
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(normalise(text))
        characters += len(batch[-1])
        if characters >= BATCH_CHARS:
            sketches.append(_sketch_batch(batch))
            batch, characters = [], 0
    return np.concatenate([*sketches, _sketch_batch(batch)] if batch else sketches)


def normalise(text: str) -> str:
    """Return the text in NFKC, case-folded, with single blanks, padded to the length of a shingle."""
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return normal.ljust(SHINGLE, "\0")


def _sketch_batch(batch: list[str]) -> Sketches:
    # All texts of the batch are one array of characters (T,); `owner` (T,) is the text that each belongs to.
    points = np.frombuffer("".join(batch).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, batch), np.int64, len(batch))
    starts = np.cumsum(lengths) - lengths
    hashed = _mix(_shingles(points))
    owner = np.repeat(np.arange(len(batch)), lengths)
    # The last characters of a text begin no shingle of their own text.
    inside = np.arange(len(points)) <= (starts + lengths - SHINGLE)[owner]
    whole = np.add.reduceat(np.where(inside, _mix(hashed + _position_hash(starts, owner)), np.uint64(0)), starts)
    values = np.full(len(batch) * BINS, EMPTY, np.uint32)
    bins = owner[inside] * BINS + (hashed[inside] >> np.uint64(58)).astype(np.int64)  # by the upper 6 bits
    np.minimum.at(values, bins, ((hashed[inside] >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.uint32))
    minima = np.ascontiguousarray(_densify(values.reshape(-1, BINS)).astype(np.uint16))
    return np.concatenate([minima.view(np.uint64), whole[:, None]], axis=1)


def _position_hash(starts: Ints, owner: Ints) -> Sketches:
    """Return a number for each character's position in its text, (T,), so that a text's hash depends on the order."""
    return (np.arange(len(owner)) - starts[owner]).astype(np.uint64) * np.uint64(FACTORS[0])


def _shingles(points: Sketches) -> Sketches:
    """Return a number for each character with the 4 that follow it, (T,), by a polynomial in FACTORS[1]."""
    total = np.zeros_like(points)
    for ahead in range(SHINGLE):
        total = total * np.uint64(FACTORS[1])
        total[: len(points) - ahead] += points[ahead:]
    return total


def _mix(keys: Sketches) -> Sketches:
    """Hash each key (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = keys.copy()
    for shift, factor in ((30, FACTORS[1]), (27, FACTORS[2])):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _densify(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Fill each empty bin (n, 64) from the next one, cyclically, that is not empty; one bin at least is not."""
    out = values.copy()
    for _ in range(BINS - 1):
        empty = out >= EMPTY
        if not empty.any():
            break
        out = np.where(
            empty, np.where(np.roll(out, -1, 1) < EMPTY, np.roll(out, -1, 1) + DENSIFICATION_OFFSET, EMPTY), out
        )
    return out & np.uint32(0xFFFF)


def near_pairs(sketches: Sketches, similarity: float) -> Pairs:
    """Return the pairs of near duplicates among `sketches` (N, 17)."""
    if not len(sketches):
        return np.empty((0, 2), dtype=np.int64)
    minima = np.ascontiguousarray(sketches[:, :WORDS]).view(np.uint16)
    whole = sketches[:, WORDS]

    def are_alike(first: Ints, second: Ints) -> npt.NDArray[np.bool_]:
        equal = (minima[first] == minima[second]).mean(axis=1)
        passed: npt.NDArray[np.bool_] = (equal >= similarity) | (whole[first] == whole[second])
        return passed

    keys = np.concatenate([whole[:, None], sketches[:, :BANDS]], axis=1)
    return _add_equal(neighbours(keys, are_alike), whole)


def _add_equal(pairs: Pairs, whole: Sketches) -> Pairs:
    """Add each text's pair with the first equal text, which the window misses where many texts are equal."""
    groups = group_ids(whole[:, None])
    _, first = np.unique(groups, return_index=True)
    repeated = np.flatnonzero(first[groups] != np.arange(len(whole)))
    equal = np.stack([first[groups[repeated]], repeated], axis=1)
    return np.unique(np.concatenate([pairs, equal]), axis=0)
