"""How much better the selected candidate is than a baseline: paired by row, on train rows that neither had learned."""

import numpy as np

from app.ml.evaluation.interval import LEVEL
from app.ml.evaluation.paired_comparison import RoundScores, paired_gain
from worker.training.model_selection.measurement import Measured
from worker.training.selected import Gain

_DIGITS = 6


def measure_gain(selected: Measured, baseline: Measured, folds: int, candidates: int) -> Gain | None:
    """Compare both over the rows that were held out of both, in so many folds; None on fewer than 10 rows.

    The selected one is the best of so many candidates on these very rows: each of them gets its share of the 5 % by
    which an interval may err (Bonferroni), so that the interval holds whichever is selected.
    """
    rows = np.intersect1d(selected.rows, baseline.rows, assume_unique=True)
    ours, theirs = (each.scores[np.searchsorted(each.rows, rows)] for each in (selected, baseline))  # (n,) each
    known = np.isfinite(ours) & np.isfinite(theirs)
    scores = [RoundScores(each[known][None], deterministic=True) for each in (ours, theirs)]
    level = 1 - (1 - LEVEL) / candidates
    gain = paired_gain(scores[0], scores[1], folds, comparisons=1, level=level)
    if gain is None:
        return None
    return Gain(
        score=round(scores[0].mean, _DIGITS),
        baseline_score=round(scores[1].mean, _DIGITS),
        difference=round(gain.value, _DIGITS),
        low=round(gain.low, _DIGITS),
        high=round(gain.high, _DIGITS),
        rows=int(known.sum()),
    )
