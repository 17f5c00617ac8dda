"""Image files known again: what an earlier dataset holds decoded, a later one takes over.

An image has a key, the digest of its file's bytes and of how they were decoded. Equal keys mean equal pixels, and thus
equal digests and sketches of these. The keys of a dataset's rows are part of its canonical form (`decodings.npy`).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from app.datasets.frames.digests import Digests, Ints, find_rows, to_words
from app.ml.data.stored_rows import InputRows, Rows, ShardedRows

DECODINGS = "decodings.npy"


def decoding_keys(files: Sequence[bytes], decoding: str) -> Digests:
    """Return the keys of image files, (N, 2), by the SHA-256 of each file; `decoding` says how they are decoded."""
    start = hashlib.sha256(decoding.encode())
    keys = bytearray()
    for sha256 in files:
        key = start.copy()
        key.update(sha256)
        keys += key.digest()[:16]
    return to_words(bytes(keys))


@dataclass(frozen=True, slots=True)
class EarlierImages:
    """The M images of a prepared dataset: its id, their keys (M, 2), digests (M, 2) and sketches (M, K).

    `open_rows` maps their pixels, uint8 (M, H, W, C).
    """

    id: str
    keys: Digests
    digests: Digests
    sketches: Digests
    open_rows: Callable[[], InputRows | ShardedRows]

    def pixels(self, places: Ints, step: int) -> Iterator[Rows]:
        """Yield the pixels of the images at `places` (n,), uint8 (H, W, C) each, of which `step` are read at a time."""
        rows = self.open_rows() if len(places) else None
        for start in range(0, len(places), step):
            assert rows is not None  # there are places
            yield from rows[places[start : start + step]]


@dataclass(frozen=True, slots=True)
class Decodings:
    """The keys (N, 2) of a dataset's images, and the places (N,) at which `earlier` images hold them, -1 = nowhere."""

    keys: Digests
    places: Ints
    earlier: EarlierImages | None

    @classmethod
    def of(cls, keys: Digests, earlier: EarlierImages | None) -> Self:
        """Look up images by their keys (N, 2)."""
        places = np.full(len(keys), -1) if earlier is None else find_rows(keys, earlier.keys)
        return cls(keys, places, earlier)

    @classmethod
    def joined(cls, parts: Sequence["Decodings | None"]) -> "Decodings | None":
        """Return those of several files' images below each other; None where some were not decoded."""
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        keys, places = (np.concatenate([getattr(part, name) for part in known]) for name in ("keys", "places"))
        return cls(keys, places, known[0].earlier)

    def at(self, positions: Ints) -> Self:
        """Return those of the images at `positions` (n,)."""
        return type(self)(self.keys[positions], self.places[positions], self.earlier)
