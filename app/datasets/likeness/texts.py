"""Texts that say nearly the same: MinHash over character 5-shingles, and equality once normalised.

MinHash (Broder 1997): the share of hash functions under which two texts have the same smallest shingle estimates the
Jaccard similarity of their shingles. One function serves for all 64 values (one permutation hashing, Li, Owen and
Zhang 2012): its range is cut into 64 bins and the smallest value of each is kept; an empty bin borrows from the next
one that is not, with an offset (Shrivastava and Li 2014). Case and the kind and number of blanks do not count.
"""

import unicodedata
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.digests import number_rows
from app.datasets.frames.texts import Texts
from app.datasets.likeness.pairs import Ints, Pairs, neighbours

SHINGLE = 5
BINS = 64
WORDS = BINS // 4
BANDS = 8
BATCH_CHARS = 1 << 21
SIMILARITY = 0.9
EMPTY = np.uint32(1 << 31)
STEP = np.uint32(0x9E37)
FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
Sketches: TypeAlias = npt.NDArray[np.uint64]


def sketch(texts: Texts) -> Sketches:
    """Return 64 values of 16 bits (16 words) and a hash of the whole normalised text (1 word), (N, 17)."""
    found = [np.empty((0, WORDS + 1), np.uint64)]
    batch: list[str] = []
    held = 0
    for text in texts:
        batch.append(normalised(text))
        held += len(batch[-1])
        if held >= BATCH_CHARS:
            found.append(_of_batch(batch))
            batch, held = [], 0
    return np.concatenate([*found, _of_batch(batch)] if batch else found)


def normalised(text: str) -> str:
    """NFKC, without case, single blanks, never shorter than a shingle."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.ljust(SHINGLE, "\0")


def _of_batch(batch: list[str]) -> Sketches:
    points = np.frombuffer("".join(batch).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, batch), np.int64, len(batch))
    starts = np.cumsum(lengths) - lengths
    hashed = _mix(_shingles(points))
    owner = np.repeat(np.arange(len(batch)), lengths)
    inside = np.arange(len(points)) <= (starts + lengths - SHINGLE)[owner]
    whole = np.add.reduceat(np.where(inside, _mix(hashed + _within(starts, owner)), np.uint64(0)), starts)
    values = np.full(len(batch) * BINS, EMPTY, np.uint32)
    places = owner[inside] * BINS + (hashed[inside] >> np.uint64(58)).astype(np.int64)
    np.minimum.at(values, places, ((hashed[inside] >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.uint32))
    small = np.ascontiguousarray(_filled(values.reshape(-1, BINS)).astype(np.uint16))
    return np.concatenate([small.view(np.uint64), whole[:, None]], axis=1)


def _within(starts: Ints, owner: Ints) -> Sketches:
    """Return each character's place in its own text, so that the whole hash minds the order."""
    return (np.arange(len(owner)) - starts[owner]).astype(np.uint64) * np.uint64(FACTORS[0])


def _shingles(points: Sketches) -> Sketches:
    """Return a number for each character with the 4 that follow; the last few are of no use, (characters,)."""
    total = np.zeros_like(points)
    for ahead in range(SHINGLE):
        total = total * np.uint64(FACTORS[1])
        total[: len(points) - ahead] += points[ahead:]
    return total


def _mix(keys: Sketches) -> Sketches:
    """Spread the bits (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = keys.copy()
    for shift, factor in ((30, FACTORS[1]), (27, FACTORS[2])):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _filled(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Let each empty bin (n, 64) borrow from the next one that is not, going round; some bin is not empty."""
    out = values.copy()
    for _ in range(BINS - 1):
        empty = out >= EMPTY
        if not empty.any():
            break
        out = np.where(empty, np.where(np.roll(out, -1, 1) < EMPTY, np.roll(out, -1, 1) + STEP, EMPTY), out)
    return out & np.uint32(0xFFFF)


def pairs(sketches: Sketches, similarity: float) -> Pairs:
    """Return the pairs of near duplicates among `sketches` (N, 17)."""
    if not len(sketches):
        return np.empty((0, 2), dtype=np.int64)
    small = np.ascontiguousarray(sketches[:, :WORDS]).view(np.uint16)
    whole = sketches[:, WORDS]

    def alike(first: Ints, second: Ints) -> npt.NDArray[np.bool_]:
        equal = (small[first] == small[second]).mean(axis=1)
        passed: npt.NDArray[np.bool_] = (equal >= similarity) | (whole[first] == whole[second])
        return passed

    keys = np.concatenate([whole[:, None], sketches[:, :BANDS]], axis=1)
    return _with_equal(neighbours(keys, alike), whole)


def _with_equal(found: Pairs, whole: Sketches) -> Pairs:
    """Add each text's pair with the first that equals it, which a long run of equal ones would leave out."""
    numbers = number_rows(whole[:, None])
    _, first = np.unique(numbers, return_index=True)
    places = np.arange(len(whole))
    again = np.flatnonzero(first[numbers] != places)
    joined = np.concatenate([found, np.stack([first[numbers[again]], again], axis=1)])
    return np.unique(joined, axis=0)
