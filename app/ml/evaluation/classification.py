"""Metrics of classifiers. A mean over classes is one over the classes that occur among the rows.

ECE is the expected calibration error of Guo et al., "On calibration of modern neural networks", 2017: over 15 equal
bins of the highest probability, the mean distance of accuracy from confidence, weighted by rows.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation import curve_builders
from app.ml.evaluation.class_figures import class_figures
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.outcomes import Outcomes, Values, Weights, finite, mean, ratio
from app.ml.evaluation.ranking import Ranking

BINS = 15
_MIN_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Classification(Outcomes):
    """Probabilities (N, K) against class codes (N,), every one of them known.

    With two classes auc_roc and average_precision are those of `positive`, else means of one against the rest.
    `unscaled` holds the probabilities before temperature scaling, where there was any.
    """

    probabilities: Values
    truth: NDArray[np.int64]
    classes: tuple[str, ...]
    unscaled: Values | None = None
    positive: str | None = None  # of two classes the one that counts; None: the second

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: NDArray[np.int64]) -> "Classification":
        """Some of the rows."""
        unscaled = None if self.unscaled is None else self.unscaled[rows]
        return Classification(self.probabilities[rows], self.truth[rows], self.classes, unscaled, self.positive)

    @property
    def cost(self) -> int:
        """One number a class."""
        return len(self.classes)

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The most probable class of each row (N,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(1)
        return best

    @cached_property
    def _rankings(self) -> dict[str, Ranking]:
        """The rows ranked for each class that occurs, against the rest; of two classes only for the positive one."""
        positive = self.positive_class
        ranked = self._class_rankings
        return ranked if positive is None else {name: ranked[name] for name in ranked if name == positive}

    @cached_property
    def _class_rankings(self) -> dict[str, Ranking]:
        """The rows ranked for each class that occurs, against the rest."""
        members = ((code, self.truth == code) for code in range(len(self.classes)))
        ranked = ((code, Ranking.of(self.probabilities[:, code], is_it)) for code, is_it in members if is_it.any())
        return {self.classes[code]: ranking for code, ranking in ranked}

    @property
    def positive_class(self) -> str | None:
        """Of two classes the one that ranks are of; None of more."""
        if len(self.classes) != 2:  # noqa: PLR2004 - the binary case
            return None
        return self.classes[1] if self.positive is None else self.positive

    def shares(self) -> dict[str, Values]:
        """Accuracy."""
        return {"accuracy": (self.answers == self.truth).astype(np.float64)}

    def measure(self, weights: Weights) -> dict[str, Values]:
        """accuracy, balanced_accuracy, macro_f1, weighted_f1, auc_roc, average_precision, log_loss, ece(_unscaled)."""
        auc, average = self._ranks(weights)
        of_truth = self.probabilities[np.arange(len(self)), self.truth]
        unscaled = self.probabilities if self.unscaled is None else self.unscaled
        ece = calibration_error(weights, self.probabilities, self.truth)
        return {
            "accuracy": mean(weights, (self.answers == self.truth).astype(np.float64)),
            **self._of_counts(weights),
            "auc_roc": auc,
            "average_precision": average,
            "log_loss": mean(weights, -np.log(of_truth.clip(_MIN_PROBABILITY))),
            "ece": ece,
            "ece_unscaled": ece if self.unscaled is None else calibration_error(weights, unscaled, self.truth),
        }

    def _ranks(self, weights: Weights) -> tuple[Values, Values]:
        """Mean AUC and average precision over the classes that have both positive and negative rows."""
        areas = [ranking.measure(weights) for ranking in self._rankings.values()]
        if not areas:
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        auc, average = (mean_of_defined(np.stack(of_classes)) for of_classes in zip(*areas, strict=True))
        return auc, average

    def _of_counts(self, weights: Weights) -> dict[str, Values]:
        """Recall and F1 from the weights of hits, predictions and rows of each class, (R, K)."""
        count = len(self.classes)
        right = weights * (self.answers == self.truth)
        hits, actual = by_code(right, self.truth, count), by_code(weights, self.truth, count)
        # A class that is answered and never occurs lowers the F1 of the others, and has none of its own.
        f1 = np.where(actual > 0, ratio(2 * hits, actual + by_code(weights, self.answers, count)), np.nan)
        return {
            "balanced_accuracy": mean_of_defined(ratio(hits, actual).T),
            "macro_f1": mean_of_defined(f1.T),
            "weighted_f1": ratio((np.nan_to_num(f1) * actual).sum(1), actual.sum(1)),
        }

    def details(self) -> dict[str, Any]:
        """Each class's own figures, what answering the most frequent class would score, and the confusion matrix.

        confusion_matrix counts truth by row and answer by column.
        """
        by_class = {
            name: class_figures(self._class_rankings.get(name), self.truth == code, self.answers == code)
            for code, name in enumerate(self.classes)
        }
        majority = np.bincount(self.truth).max() / len(self) if len(self) else math.nan
        return {
            "majority_accuracy": finite(float(majority)),
            "positive": self.positive_class,
            "by_class": by_class,
            "confusion_matrix": {"classes": list(self.classes), "counts": self.confusion().tolist()},
        }

    def curves(self, head: str) -> list[Curve]:
        """roc, precision_recall, calibration (after temperature scaling and before), confusion_matrix."""
        bins = {"scaled": self._bins(self.probabilities)}
        if self.unscaled is not None:
            bins["unscaled"] = self._bins(self.unscaled)
        return [
            curve_builders.roc(head, self._rankings),
            curve_builders.precision_recall(head, self._rankings),
            curve_builders.calibration(head, bins),
            curve_builders.confusion_matrix(head, self.classes, self.confusion()),
        ]

    def _bins(self, probabilities: Values) -> tuple[Values, NDArray[np.int64], Values]:
        return *bins_of(probabilities), (self.answers == self.truth).astype(np.float64)

    def confusion(self) -> NDArray[np.int64]:
        """(K, K)."""
        count = len(self.classes)
        return np.bincount(self.truth * count + self.answers, minlength=count * count).reshape(count, count)


def by_code(weights: Weights, codes: NDArray[np.int64], count: int) -> Values:
    """Weights (R, N) summed by the code (N,) of their row: (R, count)."""
    # One bincount for all R weightings: weighting r counts in its own range of codes.
    places = codes + count * np.arange(len(weights))[:, None]
    sums: Values = np.bincount(places.ravel(), weights.ravel(), len(weights) * count).astype(np.float64)
    return sums.reshape(len(weights), count)


def mean_of_defined(values: Values) -> Values:
    """Means over the first axis of (K, R), leaving out what is NaN; NaN where nothing is left."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0).sum(0), defined.sum(0).astype(np.float64))


def bins_of(probabilities: Values) -> tuple[Values, NDArray[np.int64]]:
    """The highest probability of each row, and which of 15 equal bins it falls into, each (N,)."""
    confidence = probabilities.max(1, initial=0)
    return confidence, np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def calibration_error(weights: Weights, probabilities: Values, truth: NDArray[np.int64]) -> Values:
    """ECE (R,)."""
    # Per bin the sum of (right - confidence), for R weightings in one product: (R, N) @ (N, bins).
    confidence, bins = bins_of(probabilities)
    gap = (probabilities.argmax(1) == truth) - confidence if len(truth) else confidence
    gaps_by_bin = np.zeros((len(truth), BINS))
    gaps_by_bin[np.arange(len(truth)), bins] = gap
    return ratio(np.abs(weights @ gaps_by_bin).sum(1), weights.sum(1))
