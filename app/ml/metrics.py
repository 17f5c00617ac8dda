"""Metrics of heads as JSON: an undefined one is None, never NaN. scikit-learn is imported when first asked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_PROBABILITY = 1e-15


def classification(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Metrics of (N, K) probabilities against class codes (N,), every one of them known.

    auc_roc is that of the second class for two classes, else the mean of one against the rest; it is None unless
    every class occurs. confusion_matrix counts truth by row and answer by column.
    """
    from sklearn.metrics import confusion_matrix, f1_score  # noqa: PLC0415 - takes a second to import

    if len(truth) == 0:
        return {"accuracy": None, "macro_f1": None, "auc_roc": None, "log_loss": None, "confusion_matrix": None}
    answers = probabilities.argmax(1)
    counts = confusion_matrix(truth, answers, labels=range(len(classes)))
    of_truth = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": float((answers == truth).mean()),
        "macro_f1": float(f1_score(truth, answers, average="macro", zero_division=0)),
        "auc_roc": auc_roc(probabilities, truth),
        "log_loss": float(-np.log(of_truth.clip(_LEAST_PROBABILITY)).mean()),
        "confusion_matrix": {"classes": list(classes), "counts": counts.tolist()},
    }


def auc_roc(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve, macro one-vs-rest for more than two classes; None unless every class occurs."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - takes a second to import

    classes = probabilities.shape[1]
    if len(np.unique(truth)) < classes:
        return None
    chosen = [1] if classes == 2 else range(classes)  # noqa: PLR2004 - two classes are the binary case
    return float(np.mean([roc_auc_score(truth == code, probabilities[:, code]) for code in chosen]))


def regression(values: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    """mae, rmse and r2 of (N,) against (N,), every one known; r2 is None where the truth never varies."""
    if len(truth) == 0:
        return {"mae": None, "rmse": None, "r2": None}
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error  # noqa: PLC0415

    varies = bool((truth != truth[0]).any())
    return {
        "mae": float(mean_absolute_error(truth, values)),
        "rmse": float(root_mean_squared_error(truth, values)),
        "r2": float(r2_score(truth, values)) if varies else None,
    }
