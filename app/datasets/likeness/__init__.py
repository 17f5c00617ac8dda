"""Near duplicates: a sketch of each row, small enough to be stored, and the pairs of rows whose sketches agree.

A sketch is a row of uint64 words: of an image its thumbnail, of a text a MinHash, of numbers the digest of their
leading digits. Candidate pairs are found by sorting (`pairs.py`), so that nothing takes O(N^2) time.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.frames.texts import Texts
from app.datasets.likeness import images, numbers, texts
from app.datasets.likeness.pairs import Pairs, between
from app.ml.spec import ColumnSpec, ModalityKind

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
    """Return the pairs of nearly equal rows, (P, 2): the lower position first, sorted, each once.

    Args:
        modality: the kind of data.
        sketches: of the rows, (N, K).
        distance: maximum number of bits in which the hashes of two images differ.
        similarity: minimum correlation of the thumbnails of two images, or minimum Jaccard similarity of two texts.
    """
    if modality == "image":
        return images.near_pairs(sketches, distance, images.SIMILARITY if similarity is None else similarity)
    if modality == "text":
        return texts.near_pairs(sketches, texts.SIMILARITY if similarity is None else similarity)
    return numbers.near_pairs(sketches)


def across(modality: ModalityKind, own: Sketches, other: Sketches) -> Pairs:
    """Return for each row of `own` (N, K) its first near duplicate in `other` (M, K), if any, as positions (P, 2)."""
    if modality not in {"image", "text"}:
        return numbers.matches(own, other)
    return between(within(modality, np.concatenate([own, other])), len(own))
