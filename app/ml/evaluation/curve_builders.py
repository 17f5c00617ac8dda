"""Curves, thinned to what a picture can show.

ROC         at most 502 points, the first and the last of each 1/125 of the way; the area under the polygon differs from
            that under all points by at most 0.002: in each of the 250 pieces by dx dy / 2 <= (1 / 125)^2 / 8
precision   at most 250 steps, each with the mean precision over the recall that it stands for, weighted by it: the area
            under the steps, from the left, is the average precision exactly
calibration one point a bin of confidence

Intervals of points are exact ones of shares: of ROC curves of the true positive rate at each threshold, of precision of
the rows down to each step's last threshold, of calibration of the rows of each bin. Predictions have the head's.
"""

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.curve import Curve, Line
from app.ml.evaluation.interval import share_intervals
from app.ml.evaluation.outcomes import Values, finite
from app.ml.evaluation.ranking import Ranking
from app.ml.evaluation.thinning import thinned

MAX_LINES = 20
_PIECES_TO_ONE = 125
_STEPS = 250
_MAX_POINTS = 500


def roc(head: str, rankings: Mapping[str, Ranking]) -> Curve:
    """ROC curves: false and true positive rates of each class at each threshold."""
    lines = (_roc_line(name, ranking) for name, ranking in _largest(rankings))
    return Curve(
        kind="roc",
        head=head,
        x_label="false positive rate",
        y_label="true positive rate",
        lines=tuple(line for line in lines if line is not None),
    )


def precision_recall(head: str, rankings: Mapping[str, Ranking]) -> Curve:
    """Precision-recall curves, a line per class."""
    lines = tuple(_precision_line(name, ranking) for name, ranking in _largest(rankings))
    return Curve(kind="precision_recall", head=head, x_label="recall", y_label="precision", lines=lines)


def calibration(head: str, bins: Mapping[str, tuple[Values, NDArray[np.int64], Values]]) -> Curve:
    """Calibration curves, by name from the confidence, the bin and the correctness of each row, each (N,)."""
    lines = tuple(_calibration_line(name, *each) for name, each in bins.items())
    return Curve(kind="calibration", head=head, x_label="confidence", y_label="accuracy", lines=lines)


def confusion_matrix(head: str, classes: tuple[str, ...], counts: NDArray[np.int64]) -> Curve:
    """The confusion matrix, (K, K), truth by row."""
    rows = tuple(map(tuple, counts.tolist()))
    return Curve(kind="confusion_matrix", head=head, x_label="answer", y_label="truth", classes=classes, counts=rows)


def predictions(head: str, targets: Mapping[str, tuple[Values, Values, Values | None, Values | None]]) -> Curve:
    """Truth, prediction and its interval of at most 500 rows, evenly spread in the order of the truth; each (N,)."""
    lines = []
    for name, (truth, values, low, high) in targets.items():
        order = np.argsort(truth, kind="stable")
        chosen = order[_spread(len(order))]
        x, y, *ends = (() if each is None else tuple(each[chosen].tolist()) for each in (truth, values, low, high))
        lines.append(Line(name=name, x=x, y=y, low=ends[0], high=ends[1]))
    return Curve(kind="predictions", head=head, x_label="truth", y_label="prediction", lines=tuple(lines))


def learning(points: Iterable[tuple[int, Mapping[str, float | None]]]) -> Curve:
    """Learning curves: a line per metric over steps, each of at most 500 points that show its shape, peaks and gaps.

    Points are read once and kept as 16 bytes for each value, whatever their number.
    """
    measured: dict[str, tuple[array[float], array[float]]] = {}  # steps and values by metric
    for step, values in points:
        for name, value in values.items():
            line = measured.get(name) or measured.setdefault(name, (array("d"), array("d")))
            line[0].append(step)
            line[1].append(np.nan if value is None else value)
    lines = tuple(_learning_line(name, np.frombuffer(x), np.frombuffer(y)) for name, (x, y) in measured.items())
    return Curve(kind="learning", head=None, x_label="step", y_label="value", lines=lines)


def _learning_line(name: str, x: Values, y: Values) -> Line:
    kept = thinned(x, y, _MAX_POINTS)
    return Line(name=name, x=tuple(x[kept].tolist()), y=tuple(map(finite, y[kept].tolist())))


def _largest(rankings: Mapping[str, Ranking]) -> Iterable[tuple[str, Ranking]]:
    """Select the classes with the most rows, in the order of the classes."""
    ranked = sorted(rankings, key=lambda name: -int(rankings[name].positive.sum()))
    kept = set(ranked[:MAX_LINES])
    return ((name, ranking) for name, ranking in rankings.items() if name in kept)


def _counts(ranking: Ranking) -> tuple[Values, Values]:
    hits, misses = ranking.counts(np.ones((1, len(ranking.order))))
    return hits[0], misses[0]


def _roc_line(name: str, ranking: Ranking) -> Line | None:
    hits, misses = _counts(ranking)
    if not misses.sum():
        return None
    x, y = (np.concatenate([[0], each.cumsum() / each.sum()]) for each in (misses, hits))
    # x + y grows along the curve from 0 to 2: pieces of equal length in it, wherever the curve is steep.
    kept = _ends_of_pieces(np.floor((x + y) * _PIECES_TO_ONE))
    thresholds = (None, *ranking.thresholds.tolist())
    return Line(
        name=name,
        x=tuple(x[kept].tolist()),
        y=tuple(y[kept].tolist()),
        area=float(np.trapezoid(y, x)),
        thresholds=tuple(thresholds[index] for index in kept),
        **_intervals(y[kept], np.full(len(kept), hits.sum())),
    )


def _ends_of_pieces(pieces: Values) -> NDArray[np.int64]:
    """Indices of the first and the last element of each run of equal numbers."""
    changes = np.flatnonzero(np.diff(pieces))
    return np.unique(np.concatenate([[0], changes, changes + 1, [len(pieces) - 1]]))


def _precision_line(name: str, ranking: Ranking) -> Line:
    hits, misses = _counts(ranking)
    true_positives = hits.cumsum()
    precision = true_positives / (true_positives + misses.cumsum())
    # Recall in 250 steps; only groups with positive rows raise it. Rounding may not open a new step.
    pieces = np.ceil(true_positives / true_positives[-1] * _STEPS - 1e-9)[hits > 0]
    weights, values = hits[hits > 0], precision[hits > 0]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(pieces) > 0]))
    total = np.add.reduceat(weights, starts)
    # Precision over a step is the mean over the recall that it spans, so that the area stays exact.
    mean = np.add.reduceat(weights * values, starts) / total
    recall = total.cumsum() / true_positives[-1]
    area = float((weights * values).sum() / true_positives[-1])
    lasts = np.append(starts[1:], len(weights)) - 1
    rows = (true_positives + misses.cumsum())[hits > 0][lasts]
    return Line(name=name, x=tuple(recall.tolist()), y=tuple(mean.tolist()), area=area, **_intervals(mean, rows))


def _calibration_line(name: str, confidence: Values, bins: NDArray[np.int64], right: Values) -> Line:
    rows = np.bincount(bins)
    kept = np.flatnonzero(rows)
    x, y = (np.bincount(bins, each)[kept] / rows[kept] for each in (confidence, right))
    return Line(
        name=name,
        x=tuple(x.tolist()),
        y=tuple(map(finite, y.tolist())),
        rows=tuple(rows[kept].tolist()),
        **_intervals(y, rows[kept]),
    )


def _intervals(shares: Values, rows: NDArray[Any]) -> dict[str, tuple[float, ...]]:
    """The fields `low` and `high` of shares (n,) of so many rows (n,) each."""
    low, high = share_intervals(np.clip(shares * rows, 0, rows), rows)
    return {"low": tuple(low.tolist()), "high": tuple(high.tolist())}


def _spread(count: int) -> NDArray[np.int64]:
    """At most 500 of so many places, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MAX_POINTS)).round().astype(np.int64))
