"""Tables: what is fitted, what becomes of rows, and how every bad one is named."""

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.ml.data.dates import from_iso, stored_to_iso, to_iso
from app.ml.errors import InputError
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.registry import kinds
from app.ml.spec import ColumnSpec, DataSpec
from tests.support import tiny

NAN = math.nan
COLUMNS = (
    ColumnSpec(name="age", type="number"),
    ColumnSpec(name="constant", type="number"),
    ColumnSpec(name="income", type="number"),
    ColumnSpec(name="colour", type="category", categories=("red", "blue")),
)
SPEC = DataSpec(modality="table", shape=(4,), columns=COLUMNS, rows={"train": 4})
TRAIN = np.array([[10, 0.1, 1, 0], [20, 0.1, NAN, 1], [30, 0.1, 3, 1], [40, 0.1, 5, 0]], np.float32)


@pytest.fixture
def table() -> TableModality:
    return TableModality.fit(TRAIN, SPEC)


def errors(table: TableModality, *inputs: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InputError) as caught:
        table.decode(list(inputs))
    return caught.value.errors


def test_numbers_are_standardised_by_the_rows_that_have_them(table: TableModality) -> None:
    encoded = table.encode(TRAIN).numpy()
    assert encoded.shape == (4, 7)  # age, constant, income and its indicator, red, blue, unknown
    assert encoded[:, 0] == pytest.approx((TRAIN[:, 0] - 25) / np.std([10, 20, 30, 40]), rel=1e-6)
    assert encoded[:, 1] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert encoded[:, 2] == pytest.approx([-2 / np.std([1, 3, 5]), 0, 0, 2 / np.std([1, 3, 5])], rel=1e-6)
    assert encoded[:, 3].tolist() == [0, 1, 0, 0]
    assert encoded[:, 4:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_a_column_without_any_value_is_harmless() -> None:
    empty = TableModality.fit(np.full((3, 4), NAN, np.float32), SPEC)
    assert np.isfinite(empty.encode(TRAIN).numpy()).all()


def test_the_fitted_numbers_survive_json_exactly(table: TableModality) -> None:
    assert kinds(AnyModality)["table"].model_validate_json(table.model_dump_json()) == table


def test_lists_and_objects_are_read(table: TableModality) -> None:
    stored = table.decode([[1, 2.5, None, "blue"], {"colour": "green", "income": 3, "constant": 0, "age": -1}])
    assert stored.dtype == np.float64
    assert stored[0].tolist()[:2] == [1, 2.5]
    assert math.isnan(stored[0, 2])
    assert stored[0, 3] == 1
    assert table.encode(stored).numpy()[1, 4:].tolist() == [0, 0, 0]  # an unknown category is none of them


def test_booleans_whole_numbers_and_blanks_are_read_as_they_were_learned() -> None:
    codes = ColumnSpec(name="code", type="category", categories=("12345", "false", "true", " kept "))
    spec = DataSpec(modality="table", shape=(2,), columns=(COLUMNS[0], codes), rows={"train": 4})
    table = TableModality.fit(TRAIN[:, [3, 3]], spec)  # the first column holds 0 and 1 alone
    stored = table.decode([[True, 12345], [False, 12345.0], [1, True], [1, False], [1, " true"], [1, " kept "]])
    assert stored.tolist() == [[1, 0], [0, 0], [1, 2], [1, 1], [1, 2], [1, 3]]
    assert np.isnan(table.decode([[1, 7]])[0, 1])


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (["one", 0, 1, "red"], "age", "this text is none"),
        (["1,234", 0, 1, "red"], "age", "this text is none"),
        ([True, 0, 1, "red"], "age", "not a bool"),
        ([NAN, 0, 1, "red"], "age", "finite"),
        ([math.inf, 0, 1, "red"], "age", "finite"),
        ([10**400, 0, 1, "red"], "age", "finite"),
        ([1e39, 0, 1, "red"], "age", "finite"),
        ([1, 0, 1, 1.5], "colour", "whole number, not a float"),
        ([1, 0, 1, 10**5000], "colour", "not a int"),
        ([1, 0, 1, NAN], "colour", "not a float"),
        ([1, 0, 1, []], "colour", "not a list"),
    ],
)
def test_a_bad_value_is_named_by_input_and_column(table: TableModality, row: Any, column: str, words: str) -> None:
    ((loc, message),) = errors(table, [1, 0, 1, "red"], row)
    assert loc == (1, column)
    assert words in message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1, 2, 3], "3 values are given; expected 4"),
        ({"income": 1, "shoe": 3}, "unknown: 'shoe'; missing: 'age', 'constant', 'colour'; send null where"),
        ({"": 1}, "missing: 'age', 'constant', 'colour'"),
        ({"age": 1, "income": 1, "colour": "red", "shoe": 3}, "unknown: 'shoe'; missing: 'constant'"),
        (3, "list of values"),
        ("red", "list of values"),
    ],
)
def test_a_bad_row_is_named(table: TableModality, row: Any, words: str) -> None:
    ((loc, message),) = errors(table, row)
    assert loc == (0,)
    assert words in message


@pytest.mark.parametrize(
    ("row", "full", "lacked"),
    [
        ([None, 0, 1, "red"], [25, 0, 1, "red"], ["age"]),
        (["", 0, 1, "red"], [25, 0, 1, "red"], ["age"]),
        (np.array([NAN, 0.1, 1, 0]), [25, 0.1, 1, 0], ["age"]),
        ([1, None, None, None], [1, 0.1, None, "mauve"], ["constant", "colour"]),
        ({"income": 2}, [25, 0.1, 2, "mauve"], ["age", "constant", "colour"]),
        ({"age": 1, "constant": 0, "colour": " "}, [1, 0, None, "mauve"], ["colour"]),
    ],
)
def test_a_value_that_no_train_row_lacked_is_taken_as_missing_and_told(
    table: TableModality, row: Any, full: list[Any], lacked: list[str]
) -> None:
    """A number counts as the mean, a category as one that is not known; income lacked values in training."""
    doubts = Doubts()
    rows = table.encode(table.decode([[1, 0, 1, "red"], row], doubts))
    torch.testing.assert_close(rows[1], table.encode(table.decode([full]))[0], rtol=0, atol=1e-6)
    warning = next(warning for warning in doubts.warnings() if warning.code == "missing_value")
    assert (warning.count, warning.rows) == (1, (1,))
    assert all(f"'{name}' (no training row lacked it: give a" in warning.message for name in lacked)
    assert "'income'" not in warning.message
    assert [loc for loc, _ in doubts.errors() if loc[1] in lacked] == [(1, name) for name in lacked]


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(st.lists(st.lists(VALUES, max_size=5) | st.dictionaries(st.sampled_from("ab"), VALUES), max_size=30))
def test_any_json_is_read_or_refused(inputs: list[Any]) -> None:
    table = TableModality.fit(TRAIN, SPEC)
    try:
        stored = table.decode(inputs)
    except InputError as error:
        found = len(error.errors)
    else:
        found = 1
        assert np.isfinite(table.encode(stored).numpy()).all()
    assert 1 <= found <= 20


def test_differences_name_columns(table: TableModality) -> None:
    changed = (
        ColumnSpec(name="age", type="category", categories=("old",)),
        *COLUMNS[1:3],
        ColumnSpec(name="shoe", type="number"),
    )
    other = SPEC.model_copy(update={"columns": changed})
    words = " ".join(table.differences(other))
    assert table.differences(SPEC) == []
    assert "'age' is a number for the model and a category" in words
    assert "lacks column 'colour'" in words
    assert "does not know column 'shoe'" in words


def test_another_datasets_order_and_codes_are_translated(table: TableModality) -> None:
    colours = ColumnSpec(name="colour", type="category", categories=("blue", "green", "red"))
    other = SPEC.model_copy(update={"columns": (colours, *COLUMNS[:3])})
    assert table.differences(other) == []
    rows = np.array([[0, 1, 2, 3], [1, 1, 2, 3], [2, 1, 2, 3], [NAN, 1, 2, 3]], np.float32)
    aligned = table.aligned(rows, other)
    assert aligned[:, :3].tolist() == [[1, 2, 3]] * 4
    assert np.nan_to_num(aligned[:, 3], nan=-1).tolist() == [1, -1, 0, -1]


def test_statistics_come_from_the_train_split_alone() -> None:
    data = tiny.table()
    train = data.inputs[data.positions("train")]
    fitted = TableModality.fit(train, data.spec)
    assert fitted.columns[0].mean == pytest.approx(float(train[:, 0].astype(float).mean()))  # type: ignore[union-attr]
    assert fitted.columns[2].had_missing
    assert not fitted.columns[1].had_missing


def test_an_unknown_category_is_like_a_missing_one_only_where_that_was_learned() -> None:
    codes = np.array([[0], [1], [1]], np.float32)
    colour = ColumnSpec(name="colour", type="category", categories=("red", "blue", "green"))
    spec = DataSpec(modality="table", shape=(1,), columns=(colour,), rows={"train": 3})
    asked = ["red", "green", "mauve"]  # green is known to the dataset, and no train row has it
    untold = TableModality.fit(codes, spec)
    assert untold.encode(untold.decode([[one] for one in asked])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    told = TableModality.fit(np.concatenate([codes, [[NAN]]]).astype(np.float32), spec)
    assert told.encode(told.decode([[one] for one in asked])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_far_away_values_stay_within_bounds(table: TableModality) -> None:
    encoded = table.encode(table.decode([[3e38, 0, 1, "red"], [-3e38, 0, 1, "red"]]))
    assert encoded[:, 0].tolist() == [1e4, -1e4]


def test_null_is_understood_where_the_dataset_says_so() -> None:
    columns = tuple(column.model_copy(update={"nullable": True}) for column in COLUMNS)
    table = TableModality.fit(TRAIN, SPEC.model_copy(update={"columns": columns}))
    encoded = table.encode(table.decode([[None, None, None, None]])).numpy()
    assert encoded.tolist() == [[0, 0, 0, 1, 0, 0, 0]]  # only income lacked values in train


DATES = DataSpec(
    modality="table",
    shape=(2,),
    columns=(ColumnSpec(name="day", type="date"), ColumnSpec(name="at", type="date")),
    rows={"train": 4},
)


def dates() -> TableModality:
    return TableModality.fit(np.array([[0, 0.5], [10, 1.25], [20, 2], [30, NAN]], np.float32), DATES)


def test_dates_become_a_number_and_places_in_year_week_and_day() -> None:
    table = dates()
    encoded = table.encode(table.decode([["1970-01-08", "1972-02-29T06:00"]])).numpy()[0]
    day, at = encoded[:5], encoded[5:]
    assert day[0] == pytest.approx((7 - 15) / np.std([0, 10, 20, 30]))
    year = 2 * math.pi * 7 / 365.2425
    assert day[1:] == pytest.approx([math.sin(year), math.cos(year), 0, 1], abs=1e-6)
    days = dt.date(1972, 2, 29).toordinal() - dt.date(1970, 1, 1).toordinal() + 0.25
    week = 2 * math.pi * (days % 7) / 7
    assert at[0] == pytest.approx((days - 1.25) / np.std([0.5, 1.25, 2]), rel=1e-5)
    assert at[3:] == pytest.approx([math.sin(week), math.cos(week), 1, 0, 0], abs=2e-3)  # 6 o'clock: a quarter of a day


def test_missing_dates_have_their_own_feature_where_that_was_learned() -> None:
    table = dates()
    assert table.encode(table.decode([[3, None]])).numpy()[0, 5:].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    doubts = Doubts()
    assert table.encode(table.decode([[None, 1]], doubts)).numpy()[0, :5].tolist() == [0, 0, 0, 0, 0]
    ((loc, message),) = doubts.errors()
    assert loc == (0, "day")
    assert "give a date" in message


@pytest.mark.parametrize("value", ["03/04/2020", "2020-13-01", "2020-02-30", True, 1e9, NAN, [], {}, 10**400])
def test_a_bad_date_is_named(value: Any) -> None:
    ((loc, message),) = errors(dates(), [value, 1])
    assert loc == (0, "day")
    assert "2024-02-29" in message


def test_time_zones_are_converted() -> None:
    stored = dates().decode([["1970-01-02T00:00+12:00", "1970-01-01T12:00:00Z"]])
    assert stored.tolist() == [[0.5, 0.5]]


def test_specimens_are_rows_that_the_table_understands() -> None:
    for table in (dates(), TableModality.fit(TRAIN, SPEC)):
        rows = table.specimens(64)
        assert rows.dtype == np.float64
        assert rows.shape == (64, len(table.columns))
        assert np.array_equal(rows, table.specimens(64), equal_nan=True)
        assert np.isfinite(table.encode(rows).numpy()).all()
    assert np.isnan(rows[:, 2]).any()
    assert not np.isnan(rows[:, :2]).any()
    assert set(np.nan_to_num(rows[:, 3], nan=-1).tolist()) == {-1, 0, 1}


def test_dates_are_written_as_they_were_meant() -> None:
    for text in ("2024-02-29", "2024-02-29T10:00:00", "1999-12-31T23:45:00", "2024-05-05T10:35:00"):
        days = from_iso(text)
        assert days is not None
        assert stored_to_iso(float(np.float32(days))) == text
        assert to_iso(days) == text


FIRST, LAST = dt.datetime.fromisoformat("1790-07-01"), dt.datetime.fromisoformat("2149-01-01")


@given(st.datetimes(FIRST, LAST))
def test_dates_keep_their_microseconds(moment: dt.datetime) -> None:
    days = from_iso(moment.isoformat())
    assert days is not None
    assert dt.datetime.fromisoformat(to_iso(days)) == moment


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_level_far_above_the_waves_is_taken_off_in_float64(kind: Any) -> None:
    """Seconds since 1970, give or take ten: what varies is what is learned."""
    waves = 10 * np.sin(np.arange(500) / 7)
    spec = DataSpec(modality="table", shape=(1,), columns=(ColumnSpec(name="t", type="number"),), rows={"train": 500})
    table = TableModality.fit((waves[:, None] + (1.7e9 if kind is np.float64 else 1.7e5)).astype(kind), spec)
    stored = table.decode([[wave + (1.7e9 if kind is np.float64 else 1.7e5)] for wave in waves])
    assert table.encode(stored).numpy()[:, 0] == pytest.approx((waves - waves.mean()) / waves.std(), abs=2e-3)
