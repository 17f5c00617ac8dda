"""Target encoding: a category becomes the mean target of its rows, drawn to that of all rows.

    t_c = m + n_c s2_b / (n_c s2_b + s2_w) (m_c - m)

for n_c rows of mean m_c among rows of mean m, with the variances s2_b between and s2_w within categories (equation 5 of
Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and prediction
problems", 2001). Both are estimated over all categories by the analysis of variance, so that categories that tell
nothing, or of a row each, become m; a variance for each category would be 0 for its only row, which would be believed.

What is learned of a row's category must not come from its own label, which trees would read out of it again. Train rows
are therefore encoded by the rows of other folds (cross-fitting).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

FOLDS = 5


class CategoryMeans(NamedTuple):
    """What categories are encoded as: the mean of all rows (V,), and how far each is drawn from it (C, V)."""

    prior: Doubles
    effects: Doubles

    def of(self, codes: Codes) -> Doubles:
        """Encode codes (n,), -1 being unknown, to (n, V)."""
        return self.prior + np.where(codes[:, None] >= 0, self.effects[codes], 0)


def category_means(codes: Codes, values: Doubles, weights: Doubles, categories: int) -> CategoryMeans:
    """Learn from the values (n, V), NaN being unknown, of rows with codes (n,), weighted by (n,)."""
    each = [_means(codes, column, weights, categories) for column in values.T]
    return CategoryMeans(np.array([prior for prior, _ in each]), np.stack([effects for _, effects in each], axis=1))


def cross_fitted(codes: Codes, values: Doubles, weights: Doubles, categories: int, seed: int) -> Doubles:
    """Encode the same rows to (n, V), each by what the rows of other folds teach."""
    folds = np.random.default_rng(seed).permutation(len(codes)) % FOLDS
    encoded = np.empty(values.shape)
    for fold in range(FOLDS):
        held_out = folds == fold
        means = category_means(codes[~held_out], values[~held_out], weights[~held_out], categories)
        encoded[held_out] = means.of(codes[held_out])
    return encoded


def _means(codes: Codes, values: Doubles, weights: Doubles, categories: int) -> tuple[float, Doubles]:
    """Return the mean of values (n,), and what each category adds to it, (C,)."""
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return 0.0, np.zeros(categories)
    values, weights, codes = values[known], weights[known] * known.sum() / weights[known].sum(), codes[known]
    prior = float(np.average(values, weights=weights))
    has_code = codes >= 0
    values, weights, codes = values[has_code] - prior, weights[has_code], codes[has_code]
    rows = np.bincount(codes, weights, categories)
    sums = np.bincount(codes, weights * values, categories)
    means = np.divide(sums, rows, out=np.zeros(categories), where=rows > 0)
    present = int(np.count_nonzero(rows))
    total = rows.sum()
    if present < 2 or len(values) <= present:  # noqa: PLR2004 - no variance of one
        return prior, np.zeros(categories)
    within = (weights * (values - means[codes]) ** 2).sum() / (len(values) - present)
    usual_rows = (total - (rows**2).sum() / total) / (present - 1)  # of a category; their mean where all are equal
    between = (rows * (means - sums.sum() / total) ** 2).sum() / (present - 1)
    between = max(0.0, between - within) / usual_rows
    share = np.divide(rows * between, rows * between + within, out=np.zeros(categories), where=rows * between > 0)
    return prior, share * means
