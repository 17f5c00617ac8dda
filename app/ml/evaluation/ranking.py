"""The area under the ROC curve and average precision of scores, both for weighted rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.outcomes import Values, Weights, ratio


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in falling order of score; rows of equal score form one group, since no threshold parts them."""

    order: NDArray[np.int64]  # (N,)
    positive: NDArray[np.bool_]  # (N,) in that order
    starts: NDArray[np.int64]  # (G,): the first row of each group
    thresholds: Values  # (G,): each group's score

    @classmethod
    def of(cls, scores: Values, positive: NDArray[np.bool_]) -> "Ranking":
        """Rank (N,) scores of rows that are positive or not."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
        return cls(order, positive[order], starts, falling[starts])

    def counts(self, weights: Weights) -> tuple[Values, Values]:
        """Positive and negative weight of every group, each (R, G), of weights (R, N)."""
        # Weights in the order of the scores; groups of equal score are summed only where there are any.
        sorted_weights = weights[:, self.order]
        hits = sorted_weights * self.positive
        misses = sorted_weights - hits
        if len(self.starts) < len(self.order):
            hits, misses = (np.add.reduceat(each, self.starts, axis=1) for each in (hits, misses))
        return hits, misses

    def measure(self, weights: Weights) -> tuple[Values, Values]:
        """AUC-ROC and average precision, each (R,); NaN without both positive and negative rows.

        The first is the chance that a positive row scores above a negative one, ties counting one half (Hanley and
        McNeil, 1982); the second sum over groups of (R_g - R_g-1) P_g, without interpolation.
        """
        hits, misses = self.counts(weights)
        true_positives, false_positives = hits.cumsum(1), misses.cumsum(1)
        positives, negatives = true_positives[:, -1], false_positives[:, -1]
        # Negative weight that scores below each group, ties counting half; (R, G).
        below = negatives[:, None] - false_positives + misses / 2
        auc = ratio((hits * below).sum(1), positives * negatives)
        # Of everything at or above each group the share that is positive; (R, G).
        precision = true_positives / np.maximum(true_positives + false_positives, 1e-300)
        average = ratio((hits * precision).sum(1), np.where(negatives > 0, positives, 0))
        return auc, average
