"""What is good in each metric, by its name."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric: where it is best, and what it can be at all."""

    direction: Direction
    least: float = float("-inf")
    most: float = float("inf")


_SHARE, _DISTANCE, _SCORE = Figure("maximize", 0, 1), Figure("minimize", 0), Figure("maximize", most=1)

FIGURES: dict[str, Figure] = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "micro_f1"), _SHARE),
    **dict.fromkeys(("auc_roc", "average_precision", "subset_accuracy", "token_accuracy", "coverage"), _SHARE),
    **dict.fromkeys(("ece", "ece_unscaled", "hamming_loss"), Figure("minimize", 0, 1)),
    **dict.fromkeys(("log_loss", "mae", "rmse", "bits_per_character", "interval_width", "loss"), _DISTANCE),
    "perplexity": Figure("minimize", 1),
    "r2": _SCORE,
}


def figure(name: str) -> Figure | None:
    """Return what is known of a metric; None where nothing is."""
    return FIGURES.get(name)
