"""Which rows are nearly the same: a sketch of each row, small enough to keep, and pairs of sketches that agree.

A sketch is a row of uint64 words: of an image its thumbnail, of a text a MinHash, of numbers the digest of their
leading digits. Candidates are found by sorting (`pairs.py`), so that no step takes time of O(N^2).
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.texts import Texts
from app.datasets.likeness import images, numbers, texts
from app.datasets.likeness.pairs import Pairs, between
from app.ml.data.spec import ColumnSpec, ModalityKind

DISTANCE = 4
DIGITS = 3
Sketches: TypeAlias = npt.NDArray[np.uint64]

__all__ = ["DIGITS", "DISTANCE", "Pairs", "Sketches", "across", "sketch", "within"]


def sketch(inputs: npt.NDArray[Any] | Texts, columns: Sequence[ColumnSpec], digits: int = DIGITS) -> Sketches:
    """Return the sketches of rows, (N, K): images K = 33, texts 17, tables and series 2."""
    if isinstance(inputs, Texts):
        return texts.sketch(inputs)
    if inputs.dtype == np.uint8:
        return images.sketch(inputs)
    return numbers.sketch(inputs, columns, digits)


def within(
    modality: ModalityKind, sketches: Sketches, distance: int = DISTANCE, similarity: float | None = None
) -> Pairs:
    """Return pairs of nearly equal rows, (P, 2) with the lower place first, sorted, each once.

    Args:
        modality: what the rows are.
        sketches: (N, K).
        distance: bits in which the hashes of two images may differ.
        similarity: of images the least correlation of two thumbnails, of texts the least Jaccard similarity.
    """
    if modality == "image":
        return images.pairs(sketches, distance, images.SIMILARITY if similarity is None else similarity)
    if modality == "text":
        return texts.pairs(sketches, texts.SIMILARITY if similarity is None else similarity)
    return numbers.pairs(sketches)


def across(modality: ModalityKind, mine: Sketches, theirs: Sketches) -> Pairs:
    """Return for each of `mine` (N, K) that has one its first near twin among `theirs` (M, K): (P, 2) places."""
    if modality not in {"image", "text"}:
        return numbers.joined(mine, theirs)
    return between(within(modality, np.concatenate([mine, theirs])), len(mine))
