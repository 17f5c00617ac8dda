"""Verdicts from given scores, and on real digits. More of the latter: bench/transfer.py."""

import math
from typing import Any

import numpy as np
import pytest

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.paired_comparison import RoundScores
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, Split, TargetSpec
from tests.support.reports import case, report_on, trained
from worker.training.run import prepare
from worker.training.transfer_report.verdict import HeadScores, is_settled, judge, labels_needed

CONTROLS = ("majority", "raw_linear", "untrained", "scratch")


def of(value: float, **fields: bool) -> RoundScores:
    """A hundred rows that all score the same."""
    return RoundScores(np.full((1, 100), value), deterministic=True, **fields)


def comparison(ours: RoundScores | None, controls: dict[str, RoundScores | None], **fields: Any) -> HeadScores:
    usual: dict[str, Any] = {"missing": {}, "fewer": [], "labels": 80, "folds": None}
    return HeadScores(ours, controls, **{**usual, **fields})


def all_at(value: float, **others: float) -> dict[str, RoundScores | None]:
    return {name: of(others.get(name, value)) for name in CONTROLS}


def test_it_helps_only_where_it_beats_every_control() -> None:
    assert judge(comparison(of(0.8), all_at(0.5)))["verdict"] == "helps"
    equal = judge(comparison(of(0.8), all_at(0.5, scratch=0.8)))
    assert (equal["verdict"], equal["best_control"]) == ("no evidence", "scratch")
    assert "scratch" in equal["reason"]
    worse = judge(comparison(of(0.8), all_at(0.5, raw_linear=0.9)))
    assert (worse["verdict"], worse["best_control"]) == ("hurts", "raw_linear")
    assert worse["gain"]["value"] == pytest.approx(-0.1)
    assert worse["labels_saved"]["needed"] is None


def test_what_was_not_compared_is_told_and_is_no_evidence() -> None:
    controls = {**all_at(0.5), "scratch": None}
    head = judge(comparison(of(0.8), controls, missing={"scratch": "the budget was spent"}))
    assert head["verdict"] == "no evidence"
    assert head["controls"]["scratch"] == {
        "score": None,
        "trainings": 0,
        "gain": None,
        "reason": "the budget was spent",
    }
    assert "scratch: the budget was spent" in head["reason"]
    nothing = judge(comparison(None, dict.fromkeys(CONTROLS)))
    assert (nothing["verdict"], nothing["gain"], nothing["pretrained"]) == ("no evidence", None, None)


def test_what_was_trained_once_is_no_evidence_where_another_time_would_differ() -> None:
    once = RoundScores(np.full((1, 100), 0.5), fresh_weights=True)
    for ours, worse in ((0.8, False), (0.2, True)):
        head = judge(comparison(of(ours), {**all_at(0.5 if not worse else 0.2), "untrained": once}))
        assert head["verdict"] == "no evidence"
        assert "once" in head["reason"]


def test_labels_needed_is_where_the_curve_crosses_in_the_logarithm() -> None:
    curve = [(80, 0.9), (40, 0.8), (20, 0.6), (10, 0.7)]
    assert labels_needed(curve, 0.8) == (pytest.approx(40), False)
    assert labels_needed(curve, 0.7) == (pytest.approx(math.sqrt(40 * 20)), False)
    assert labels_needed(curve, 0.65)[0] == pytest.approx(20 * 2**0.25), "what rises again is not looked at"
    assert labels_needed(curve, 0.5) == (10, True)


def test_labels_are_saved_down_to_the_best_control() -> None:
    fewer = [(40, 0.7), (20, 0.5)]
    head = judge(comparison(of(0.8), all_at(0.3, scratch=0.6), fewer=fewer))["labels_saved"]
    assert (head["needed"], head["saved"], head["or_fewer"]) == (29, 51, False)  # sqrt(40 * 20) = 28.3
    assert [point["labels"] for point in head["curve"]] == [80, 40, 20]
    assert judge(comparison(of(0.8), all_at(0.3)))["labels_saved"]["reason"].startswith("fewer labels were not tried")


def made_table(rows: int, columns: int) -> ArrayData:
    """Normal columns; a class and a number by a random network of them."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(rows, columns)).astype(np.float32)
    sums = np.tanh(inputs @ random.normal(size=(columns, 12))) @ random.normal(size=(12, 3))
    split = np.array([0] * 8 + [1, 2], np.uint8)[np.arange(rows) % 10]
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(
        modality="table",
        shape=(columns,),
        columns=tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(columns)),
        targets=(
            TargetSpec(name="label", type="category", classes=("a", "b", "c")),
            TargetSpec(name="number", type="number"),
        ),
        rows=counts,
        labelled={"label": counts, "number": counts},
    )
    return ArrayData(spec, inputs, np.stack([sums.argmax(1), sums[:, 0]], axis=1), split)


def rounds_of(mean: float, deviation: float, rows: int = 1000, rounds: int = 3) -> RoundScores:
    """Rounds of scores 0 and 1 on the same rows, whose means lie `deviation` apart."""
    shares = mean + deviation * np.linspace(-1, 1, rounds)
    return RoundScores((np.arange(rows) < np.round(shares[:, None] * rows)).astype(float), fresh_weights=True)


@pytest.mark.parametrize(
    ("ours", "deviation", "rows", "settled"),
    [
        (0.5, 0.0, 1000, True),  # equal, and no noise of training: rows alone decide
        (0.55, 0.02, 1000, False),  # better, but for the noise of three trainings
        (0.52, 0.001, 60, True),  # on so few rows no training could show it
        (0.9, 0.0, 1000, True),  # so much better that it is clear by now
        (0.1, 0.0, 1000, True),  # so much worse
        (0.45, 0.02, 1000, False),
    ],
)
def test_more_rounds_are_trained_only_where_they_may_change_the_verdict(
    ours: float, deviation: float, rows: int, settled: bool
) -> None:
    controls: dict[str, RoundScores | None] = {name: rounds_of(0.5, deviation, rows) for name in CONTROLS}
    assert is_settled(comparison(rounds_of(ours, deviation, rows), controls), 10) == settled


def test_without_a_control_more_rounds_can_show_harm_alone() -> None:
    controls = {name: rounds_of(0.5, 0.02) for name in CONTROLS} | {"scratch": None}
    assert is_settled(comparison(rounds_of(0.55, 0.02), controls), 10)
    assert not is_settled(comparison(rounds_of(0.45, 0.02), controls), 10)


@pytest.mark.slow
def test_a_backbone_that_has_learned_digits_helps_and_saves_labels() -> None:
    head = case("taught", 0, rounds=5)["heads"]["label"]
    assert head["verdict"] == "helps", head
    assert head["gain"]["low"] > 0
    saved = head["labels_saved"]
    assert [point["labels"] for point in saved["curve"]] == [40, 20]
    assert saved["needed"] + saved["saved"] == 40
    assert saved["saved"] > 0


@pytest.mark.slow
def test_a_pretraining_without_labels_helps() -> None:
    head = case("unlabelled", 2, rounds=5)["heads"]["label"]
    assert head["verdict"] == "helps", head
    assert head["gain"]["low"] > 0.02  # 0.087 was seen, see docs/transfer.md


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target"), [("classifier", "label"), pytest.param("regressor", "number", marks=pytest.mark.exhaustive)]
)
def test_a_table_of_324_rows_and_7_columns_gets_a_verdict_by_defaults(kind: str, target: str) -> None:
    data = made_table(324, 7)
    pretraining = resolve_pretraining(PretrainingConfig(), data.spec).config
    parent = trained(prepare(pretraining, data)).bundle()
    report, _ = report_on(data, parent, {"heads": [{"kind": kind, "target": target}]}, {})
    head = report["heads"][target]
    assert all(control["trainings"] >= 2 for control in head["controls"].values()), head
    assert report["needed_seconds"] is None
    assert report["seconds"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fresh", "shuffled", "noise", "labels"])
def test_what_has_learned_nothing_of_it_is_no_gain(name: str) -> None:
    for draw in range(2):
        assert case(name, draw, rounds=5)["heads"]["label"]["verdict"] != "helps"
