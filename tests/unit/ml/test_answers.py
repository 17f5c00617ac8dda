"""Numbers of answers are rounded for JSON, after what is answered was decided by them."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ml.interfaces.head_answers import (
    AnswerOptions,
    ClassAnswers,
    LabelAnswers,
    NumberAnswers,
    RateAnswers,
    feature_rows,
    rounded,
    significant,
    to_unit,
)

FINITE = st.floats(-1e308, 1e308)


def digits_of(number: float) -> int:
    """How many significant digits the shortest decimal of a number has."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(st.lists(FINITE, min_size=1, max_size=20), st.integers(1, 15))
def test_no_number_has_more_significant_digits(numbers: list[float], digits: int) -> None:
    shown = significant(np.array(numbers), digits)
    for number, short in zip(numbers, shown.tolist(), strict=True):
        assert digits_of(short) <= digits
        assert short == pytest.approx(number, rel=0.5001 * 10.0 ** (1 - digits), abs=5e-324)


def test_rounded_as_pythons_own_formatting_does() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=2000) * 10.0 ** random.integers(-40, 40, 2000)
    for digits in (1, 3, 7, 12):
        expected = [float(f"{number:.{digits}g}") for number in numbers]
        assert significant(numbers, digits) == pytest.approx(expected, rel=1e-15)
    assert significant(numbers, 17).tolist() == numbers.tolist()
    assert significant(np.array([1.7e308]), 1).tolist() == [1.7e308]  # 2e308 is no number
    assert significant(np.array([0.0, -0.0, 1e-320]), 3).tolist() == [0, 0, 1e-320]


def test_by_default_numbers_have_a_digit_more_at_most() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(50, 40)) * 10.0 ** random.integers(-12, 6, (50, 40))
    shown = rounded(numbers, None, 7)
    assert max(map(digits_of, shown.ravel().tolist())) <= 8
    assert shown == pytest.approx(numbers, rel=5e-7)
    assert rounded(np.zeros((1, 3)), None, 7).tolist() == [[0, 0, 0]]
    extremes = np.array([1e308, -1e308, 1e-300, -1e-300, 2.5])
    assert rounded(extremes, None, 7) == pytest.approx(extremes, rel=5e-7)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_features_are_read_back_as_they_were(numbers: list[float]) -> None:
    features = np.array([numbers], np.float32)
    (row,) = feature_rows(features)
    again = np.array(row, np.float32)
    usual = (np.abs(features[0]) > 1e-37) | (features[0] == 0)  # below, a float32 has fewer bits
    assert again[usual].tolist() == features[0][usual].tolist()


def test_the_most_probable_classes_come_first() -> None:
    numbers = np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])
    answers = ClassAnswers(("a", "b", "c"), numbers)
    assert answers.rows(AnswerOptions(top_k=2)) == [
        {"class": "b", "probabilities": {"b": 0.5, "a": 0.25}},
        {"class": "c", "probabilities": {"c": 0.7, "b": 0.2}},
    ]
    assert [list(row["probabilities"]) for row in answers.rows(AnswerOptions(top_k=9))] == [list("bac"), list("cba")]
    assert answers.rows() == [
        {"class": "b", "probabilities": {"a": 0.25, "b": 0.5, "c": 0.25}},
        {"class": "c", "probabilities": {"a": 0.1, "b": 0.2, "c": 0.7}},
    ]


def test_rounding_changes_no_class_and_no_label() -> None:
    close = np.array([[0.49999999999, 0.50000000001]])
    (row,) = ClassAnswers(("a", "b"), close).rows(AnswerOptions(digits=2, top_k=1))
    assert row == {"class": "b", "probabilities": {"b": 0.5}}
    (row,) = LabelAnswers(("a", "b"), close, np.array([0.5, 0.5])).rows(AnswerOptions(digits=1))
    assert row == {"labels": ["b"], "probabilities": {"a": 0.5, "b": 0.5}}
    tie = np.full((1, 3), 1 / 3)
    (row,) = ClassAnswers(("a", "b", "c"), tie).rows(AnswerOptions(top_k=1))
    assert row == {"class": "a", "probabilities": {"a": 0.3333333}}


def test_predicted_numbers_keep_what_their_unit_asks_for() -> None:
    """A time in seconds has ten digits before what is foreseen of it."""
    seconds = np.array([[1_700_000_000.123456789], [1_700_000_001.5]])
    (first, _) = NumberAnswers(("t",), seconds, seconds - 1, seconds + 1, 0.9, np.array([0.25])).rows()
    assert first["value"] == pytest.approx(1_700_000_000.123456789, abs=1e-7)
    dollars = np.array([[351_234.56789123]])
    (row,) = NumberAnswers(("price",), dollars, dollars - 0.1, dollars + 0.1, 0.9, np.array([80_000.0])).rows()
    assert row == {"value": 351_234.568, "interval": [351_234.468, 351_234.668], "level": 0.9}
    (row,) = NumberAnswers(("price",), dollars, dollars, dollars, 0.9, np.array([1.0])).rows(AnswerOptions(digits=3))
    assert row == {"value": 351_000, "interval": [351_000, 351_000], "level": 0.9}
    huge = np.array([[1e300, -1e308, 0.0]])
    assert to_unit(huge, np.array([1e-5, 1e290, 1e-300])).tolist() == huge.tolist()


def test_several_numbers_stand_under_their_names() -> None:
    numbers = np.array([[1.23456789, 2.5]])
    answers = NumberAnswers(("a", "b"), numbers, numbers, numbers, 0.5, np.array([100.0, 1.0]))
    assert answers.rows()[0]["a"]["value"] == 1.23457
    assert answers.array.shape == (1, 2)
    alone = NumberAnswers(("a",), numbers[:, :1], numbers[:, :1], numbers[:, :1], 0.5, np.array([1.0]))
    assert alone.array.shape == (1,)


def test_counts_are_never_rounded() -> None:
    rates = RateAnswers(("perplexity",), np.array([[123.456]]), np.array([123_456]))
    assert rates.rows(AnswerOptions(digits=2)) == [{"perplexity": 120, "tokens": 123_456}]
    assert math.isfinite(rates.rows()[0]["perplexity"])
