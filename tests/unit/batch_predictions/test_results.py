"""The columns and the cells of results: every answer flat, no cell a formula, and counts that attempts hand on."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.ml.spec import WarningCode
from worker.batch_prediction.answers import Answers, RowDoubt
from worker.batch_prediction.columns import Columns
from worker.batch_prediction.results import safe_text
from worker.batch_prediction.tally import Tally

ANSWERS: list[dict[str, Any]] = [
    {
        "size": {"class": "large", "probabilities": {"large": 0.75, "small": 0.25}},
        "price": {"value": 3.5, "interval": [3.0, 4.0], "level": 0.9},
        "tags": {"labels": ["a", "b"], "probabilities": {"a": 0.9, "b": 0.8}},
    },
    {
        "size": {"class": "small", "probabilities": {"large": 0.0, "small": 1.0}},
        "price": {"value": -1.0, "interval": [-2.0, 0.0], "level": 0.9},
        "tags": {"labels": [], "probabilities": {"a": 0.1, "b": 0.2}},
    },
]


def test_answers_of_every_head_are_flat_and_rows_without_any_are_empty() -> None:
    columns = Columns({"id": "whole", "row": "text"}, ("split",), ANSWERS[0], 2)
    answers = Answers([0, 2], ANSWERS, np.array([[1, 2], [3, 4]], np.float32), {1: "age: a number is expected"})
    answers.doubts = [RowDoubt(2, WarningCode.UNKNOWN_CATEGORY, "city", "'city' ('Rome')")]
    kept = {"id": [7, None, 2**70], "row": ["x", {"a": 1}, None]}
    batch = columns.batch([4, 5, 9], {"split": ["train", "test", "test"]}, kept, answers)
    rows = pa.Table.from_batches([batch]).to_pylist()
    assert rows[0] == {
        "row": 4,
        "split": "train",
        "id": 7,
        "input.row": "x",
        "size.class": "large",
        "size.probabilities.large": 0.75,
        "size.probabilities.small": 0.25,
        "price.value": 3.5,
        "price.interval.low": 3.0,
        "price.interval.high": 4.0,
        "price.level": 0.9,
        "tags.labels": ["a", "b"],
        "tags.probabilities.a": 0.9,
        "tags.probabilities.b": 0.8,
        "embedding": [1.0, 2.0],
        "warnings": None,
        "error": None,
    }
    empty = {name for name, value in rows[1].items() if value is None}
    assert set(rows[1]) - empty == {"row", "split", "input.row", "error"}
    assert rows[1]["input.row"] == '{"a": 1}'
    assert (rows[2]["size.class"], rows[2]["embedding"], rows[2]["id"]) == ("small", [3.0, 4.0], None)
    assert rows[2]["warnings"] == ["unknown_category: 'city' ('Rome')"]


def test_hundreds_of_classes_are_one_column() -> None:
    sample = {"word": {"class": "w0", "probabilities": {f"w{k}": 0.5 for k in range(300)}}}
    assert Columns({}, (), sample, None).schema.names == [
        "row",
        "word.class",
        "word.probabilities",
        "warnings",
        "error",
    ]


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "\n=x", "\uff1d1", "-"]
)
def test_texts_that_spreadsheets_take_for_formulas_get_an_apostrophe(text: str) -> None:
    assert safe_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-1.5", "+2", "-1e-7", "-1.234,5", "-5%", "a=b", "'x", "-.5", "1-2"])
def test_numbers_and_other_texts_stay(text: str) -> None:
    assert safe_text(text) == text


def test_a_tally_goes_from_one_attempt_to_the_next() -> None:
    first = Tally()
    first.add(WarningCode.OUT_OF_RANGE, range(15), {"age": "'age' (1 to 9)"})
    second = Tally.of_json(first.as_json())
    second.add(WarningCode.OUT_OF_RANGE, range(100, 120), {"age": "another", "city": "'city'"})
    (warning,) = second.warnings()
    assert (warning.count, warning.rows) == (35, (*range(15), *range(100, 105)))
    assert warning.message == ("35 inputs hold values far outside of those that training saw: 'age' (1 to 9), 'city'.")
    assert [item.count for item in first.warnings()] == [15]
