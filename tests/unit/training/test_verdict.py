"""Verdicts from given scores, and on real digits. More of the latter: bench/transfer.py."""

import math
from typing import Any

import numpy as np
import pytest

from app.ml.evaluation.paired_comparison import RoundScores
from tests.support.reports import case
from worker.training.transfer_report.verdict import HeadScores, judge, labels_needed

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
@pytest.mark.parametrize("name", ["fresh", "shuffled", "noise", "labels"])
def test_what_has_learned_nothing_of_it_is_no_gain(name: str) -> None:
    for draw in range(2):
        assert case(name, draw, rounds=5)["heads"]["label"]["verdict"] != "helps"
