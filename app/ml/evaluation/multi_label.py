"""Metrics of classifiers that say of each of several labels whether a row has it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation import curve_builders
from app.ml.evaluation.class_figures import class_figures
from app.ml.evaluation.classification import mean_of_defined
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.outcomes import Outcomes, Values, Weights, ratio
from app.ml.evaluation.ranking import Ranking

_MIN_PROBABILITY = 1e-15
_EVEN = 0.5


@dataclass(frozen=True)
class MultiLabel(Outcomes):
    """Probabilities (N, L) against 0 and 1 (N, L), NaN where a label is not known.

    A label is answered from its threshold (L,) on, or from 0.5. subset_accuracy is that of rows with every label known.
    """

    probabilities: Values
    truth: Values
    labels: tuple[str, ...]
    thresholds: Values | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: NDArray[np.int64]) -> "MultiLabel":
        """Some of the rows."""
        return MultiLabel(self.probabilities[rows], self.truth[rows], self.labels, self.thresholds)

    @property
    def cost(self) -> int:
        """One number a label."""
        return len(self.labels)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which labels of which rows are known (N, L)."""
        return ~np.isnan(self.truth)

    @cached_property
    def says(self) -> NDArray[np.bool_]:
        """Which known labels are predicted (N, L)."""
        answered: NDArray[np.bool_] = self.probabilities >= (_EVEN if self.thresholds is None else self.thresholds)
        return self.known & answered

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which known labels are predicted rightly (N, L)."""
        right: NDArray[np.bool_] = self.says == (self.truth > 0)
        return self.known & right

    @cached_property
    def _rankings(self) -> dict[int, tuple[NDArray[np.int64], Ranking]]:
        """By label that is known of any row: those rows, and their ranking."""
        rows = [np.flatnonzero(self.known[:, label]) for label in range(len(self.labels))]
        return {
            label: (known_rows, Ranking.of(self.probabilities[known_rows, label], self.truth[known_rows, label] > 0))
            for label, known_rows in enumerate(rows)
            if len(known_rows)
        }

    def shares(self) -> dict[str, Values]:
        """subset_accuracy."""
        return {"subset_accuracy": np.where(self.known.all(1), self.right.all(1), np.nan)}

    def measure(self, weights: Weights) -> dict[str, Values]:
        """subset_accuracy, hamming_loss, micro_f1, macro_f1, auc_roc, average_precision (macro), log_loss."""
        known = self.known.astype(np.float64)
        whole = self.known.all(1).astype(np.float64)
        areas = [ranking.measure(weights[:, rows]) for rows, ranking in self._rankings.values()]
        nothing = np.full((1, len(weights)), np.nan)
        auc, average = (np.stack(of_labels) for of_labels in zip(*areas, strict=True)) if areas else (nothing, nothing)
        label_count = weights @ known.sum(1)
        return {
            "subset_accuracy": ratio(weights @ self.right.all(1).astype(np.float64), weights @ whole),
            "hamming_loss": ratio(weights @ (known - self.right).sum(1), label_count),
            **self._f1(weights),
            "auc_roc": mean_of_defined(auc),
            "average_precision": mean_of_defined(average),
            "log_loss": ratio(weights @ self._nats().sum(1), label_count),
        }

    def _f1(self, weights: Weights) -> dict[str, Values]:
        """F1 from the weights of hits, predictions and rows of each label, (R, L)."""
        has, answered = self.truth > 0, self.says  # NaN is never above
        hits, total = weights @ (has & answered).astype(np.float64), weights @ (has.astype(np.float64) + answered)
        f1 = np.where(weights @ has.astype(np.float64) > 0, ratio(2 * hits, total), np.nan)  # of labels that occur
        return {"micro_f1": ratio(2 * hits.sum(1), total.sum(1)), "macro_f1": mean_of_defined(f1.T)}

    def _nats(self) -> Values:
        """-log of the probability of the truth, 0 where it is not known (N, L)."""
        of_truth = np.where(self.truth > 0, self.probabilities, 1 - self.probabilities)
        return np.where(self.known, -np.log(of_truth.clip(_MIN_PROBABILITY)), 0)

    def curves(self, head: str) -> list[Curve]:
        """Roc and precision_recall, a line a label."""
        ranked = {self.labels[label]: ranking for label, (_, ranking) in self._rankings.items()}
        with_positives = {name: ranking for name, ranking in ranked.items() if ranking.positive.any()}
        return [curve_builders.roc(head, with_positives), curve_builders.precision_recall(head, with_positives)]

    def details(self) -> dict[str, Any]:
        """Each label's own figures; average_precision_by_label is null where a label is never there, or always."""
        by_label = {name: self._figures(label) for label, name in enumerate(self.labels)}
        averages = {name: figures["average_precision"] for name, figures in by_label.items()}
        return {"average_precision_by_label": averages, "by_label": by_label}

    def _figures(self, label: int) -> dict[str, Any]:
        """One label's figures, over the rows of which it is known."""
        known, ranking = self.known[:, label], self._rankings.get(label, (None, None))[1]
        return class_figures(ranking, self.truth[known, label] > 0, self.says[known, label])
