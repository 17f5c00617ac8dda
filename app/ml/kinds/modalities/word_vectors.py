"""What the words of a column of texts say: tf-idf, reduced to a few dimensions.

After Deerwester et al., "Indexing by latent semantic analysis", 1990. With X (N, V) the train rows' tf-idf, each row of
length 1, and X = U S W', a text x becomes x W, standardised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from app.ml.data.words import CODES, MAX_DIMENSIONS, Cells

_MAX_ROWS = 20_000  # to fit on
_MAX_DENSE = 300  # rows or words: all axes are computed
_MIN_DEVIATION = 1e-6
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WordVectors:
    """`weight` (16384 + 1,) of each code, 0 where no train row had it, `vectors` (16384 + 1, K), `mean`, `std` (K,)."""

    weight: Floats
    vectors: Floats
    mean: Floats
    std: Floats

    @classmethod
    def fit(cls, cells: Cells) -> Self:
        """Learn from the codes of train rows (N, 128)."""
        cells = cells[:: -(-max(1, len(cells)) // _MAX_ROWS)]
        rows, places = np.nonzero(~np.isnan(cells))
        codes = cells[rows, places].astype(np.int64)
        counts = np.bincount(codes, minlength=CODES)
        weight = np.where(counts > 0, np.log((1 + len(cells)) / (1 + counts)) + 1, 0)
        known = np.flatnonzero(counts)
        columns = np.searchsorted(known, codes)
        tf_idf = csr_matrix((weight[codes], (rows, columns)), shape=(len(cells), len(known)))
        lengths = np.sqrt(np.asarray(tf_idf.multiply(tf_idf).sum(1)).ravel())
        tf_idf = csr_matrix(tf_idf.multiply(1 / np.maximum(lengths, _MIN_DEVIATION)[:, None]))
        axes = _axes(tf_idf)
        projected = tf_idf @ axes
        vectors = np.zeros((CODES + 1, axes.shape[1]), np.float32)
        vectors[known] = axes
        deviation = projected.std(0) if len(cells) else np.ones(axes.shape[1])
        mean = projected.mean(0) if len(cells) else np.zeros(axes.shape[1])
        std = np.where(deviation > _MIN_DEVIATION, deviation, 1)
        return cls(np.append(weight, 0).astype(np.float32), vectors, mean.astype(np.float32), std.astype(np.float32))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Self:
        """Return what `compact` wrote."""
        weight = np.zeros(CODES + 1, np.float32)
        vectors = np.zeros((CODES + 1, len(arrays["mean"])), np.float32)
        known = arrays["codes"].astype(np.int64)
        weight[known], vectors[known] = arrays["weight"], arrays["vectors"]
        return cls(weight, vectors, arrays["mean"], arrays["std"])

    def compact(self) -> dict[str, Floats]:
        """Return arrays with a row for each code that train rows had."""
        known = np.flatnonzero(self.weight)
        return {
            "codes": known.astype(np.float32),
            "weight": self.weight[known],
            "vectors": self.vectors[known],
            "mean": self.mean,
            "std": self.std,
        }

    def __call__(self, cells: Cells) -> Floats:
        """(N, 128) to (N, K); of a text without any known word what no word gives."""
        rows, places = np.nonzero(~np.isnan(cells))
        codes = cells[rows, places].astype(np.int64)
        tf_idf = csr_matrix((self.weight[codes], (rows, codes)), shape=(len(cells), CODES + 1))
        lengths = np.sqrt(np.asarray(tf_idf.multiply(tf_idf).sum(1)).ravel())
        projected = (tf_idf @ self.vectors) / np.maximum(lengths, _MIN_DEVIATION)[:, None]
        return np.asarray((projected - self.mean) / self.std, np.float32)

    def known(self, codes: list[int]) -> int:
        """Return how many of a text's words train rows had."""
        return int((self.weight[codes] > 0).sum())


def _axes(tf_idf: csr_matrix) -> NDArray[np.float64]:
    """The first right singular vectors (V, K) of (N, V), the largest entry of each above 0."""
    rows, words = tf_idf.shape
    count = min(MAX_DIMENSIONS, rows - 1, words - 1)
    if count < 1:
        return np.zeros((words, 0))
    if min(rows, words) <= max(_MAX_DENSE, count + 1):
        axes = np.linalg.svd(tf_idf.toarray(), full_matrices=False)[2][:count].T
    else:  # from a fixed start, so that the same rows always give the same; ascending
        axes = svds(tf_idf, k=count, v0=np.ones(min(rows, words)))[2][::-1].T
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(count)])
    result: NDArray[np.float64] = axes * signs
    return result
