"""The figures of a single class, or label, against all else: precision, recall, F1, average precision and AUC-ROC."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.interval import share_interval
from app.ml.evaluation.outcomes import finite
from app.ml.evaluation.ranking import Ranking

Bools = NDArray[np.bool_]


def class_figures(ranking: Ranking | None, is_it: Bools, answered: Bools) -> dict[str, Any]:
    """Return the figures as JSON, null where undefined, from truth and answers, each (n,), and the rows ranked.

    `rows` have the class and `answered` were given it; precision and recall are shares, with exact intervals.
    """
    rows, given, hits = int(is_it.sum()), int(answered.sum()), int((is_it & answered).sum())
    auc, average = ranking.measure(np.ones((1, len(is_it)))) if ranking and rows else (None, None)
    intervals = {name: asdict(share_interval(hits, of)) for name, of in (("precision", given), ("recall", rows)) if of}
    return {
        "rows": rows,
        "answered": given,
        "precision": hits / given if given else None,
        "recall": hits / rows if rows else None,
        "f1": 2 * hits / (rows + given) if rows else None,
        "average_precision": None if average is None else finite(float(average[0])),
        "auc_roc": None if auc is None else finite(float(auc[0])),
        "intervals": intervals,
    }
