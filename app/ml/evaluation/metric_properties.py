"""The direction and the bounds of each metric, by its name."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class MetricProperties:
    """Whether more or less of a metric is better, None where neither is, and its least and largest value."""

    direction: Direction | None
    least: float = float("-inf")
    most: float = float("inf")


_SHARE, _DISTANCE = MetricProperties("maximize", 0, 1), MetricProperties("minimize", 0)

METRICS: dict[str, MetricProperties] = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "micro_f1"), _SHARE),
    **dict.fromkeys(("auc_roc", "average_precision", "subset_accuracy", "token_accuracy"), _SHARE),
    **dict.fromkeys(("ece", "ece_unscaled", "hamming_loss"), MetricProperties("minimize", 0, 1)),
    **dict.fromkeys(("log_loss", "mae", "rmse", "bits_per_character"), _DISTANCE),
    **dict.fromkeys(("loss", "reconstruction"), MetricProperties("minimize")),
    "perplexity": MetricProperties("minimize", 1),
    "r2": MetricProperties("maximize", most=1),
    "coverage": MetricProperties(None, 0, 1),  # best where it is what was promised
    "interval_width": MetricProperties(None, 0),  # only of two with the same coverage is the narrower one better
}


def metric_properties(name: str) -> MetricProperties | None:
    """Return the properties of a metric; None for a name that is not known."""
    return METRICS.get(name)
