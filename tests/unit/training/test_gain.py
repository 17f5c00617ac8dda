"""The gain over a baseline: paired by row, and rarely above 0 where the best of many candidates is no better."""

from typing import Any

import numpy as np
import pytest

from worker.training.model_selection.gain import measure_gain
from worker.training.model_selection.measurement import Measured
from worker.training.selected import Gain, Selected

FOLDS = 5


def measured(scores: Any, rows: Any = None) -> Measured:
    """Scores (n,) for rows (n,), by default the first n; nothing else of it counts here."""
    scores = np.asarray(scores, dtype=np.float64)
    rows = np.arange(len(scores)) if rows is None else np.asarray(rows)
    unused: dict[str, Any] = {"candidate": None, "certainties": scores, "held_out": {}, "objective": None}
    return Measured(rows=rows, scores=scores, loss=0.0, folds=FOLDS, cpu_seconds=0.0, **unused)


def gain_of(ours: Any, theirs: Any, candidates: int = 1) -> Gain:
    gain = measure_gain(measured(ours), measured(theirs), FOLDS, candidates)
    assert gain is not None
    return gain


def test_only_rows_that_were_held_out_of_both_count() -> None:
    random = np.random.default_rng(0)
    scores = (random.random((2, 60)) < [[0.9], [0.5]]).astype(float)
    ours, theirs = scores.copy()
    ours[:5] = np.nan
    selected = measured(ours[:50], np.arange(50))
    gain = measure_gain(selected, measured(theirs), FOLDS, 1)
    assert gain is not None
    assert gain.rows == 45
    assert gain.score == pytest.approx(scores[0, 5:50].mean(), abs=1e-6)
    assert gain.difference == pytest.approx((scores[0] - scores[1])[5:50].mean(), abs=1e-6)
    assert gain.low < gain.difference < gain.high


def test_too_few_rows_prove_nothing() -> None:
    assert measure_gain(measured(np.ones(9)), measured(np.zeros(9)), FOLDS, 1) is None


def test_the_interval_is_stretched_for_trainings_that_share_rows_and_for_a_choice_among_many() -> None:
    random = np.random.default_rng(0)
    ours, theirs = (random.random((2, 400)) < [[0.8], [0.6]]).astype(float)
    one, of_ten = gain_of(ours, theirs), gain_of(ours, theirs, candidates=10)
    error = (ours - theirs).std(ddof=1) / 20
    assert one.difference - one.low == pytest.approx(1.96 * 1.5 * error, rel=0.1)  # sqrt(1 + 5 / 4)
    assert of_ten.difference - of_ten.low == pytest.approx(2.81 * 1.5 * error, rel=0.1)


def test_the_best_of_ten_that_are_no_better_is_rarely_proven_better() -> None:
    random = np.random.default_rng(0)
    above = 0
    for _ in range(60):
        baseline, *candidates = (random.random((11, 120)) < 0.7).astype(float)
        best = max(candidates, key=lambda scores: float(scores.mean()))
        above += gain_of(best, baseline, candidates=10).low > 0
    assert above <= 3  # at most 1 in 20


def test_a_selection_is_kept_with_its_gain_and_earlier_ones_have_none() -> None:
    gain = gain_of(np.arange(20) % 2, np.zeros(20))
    assert Gain.model_validate(gain.model_dump(mode="json")) == gain
    assert Selected.model_fields["gain"].default is None
