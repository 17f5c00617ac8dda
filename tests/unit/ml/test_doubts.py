"""Rows of the training file are understood as they are, and what is doubtful of an input is said."""

import csv
import io
import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from app.datasets.columns.number_parsing import parse_numbers
from app.ml.errors import InputError
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.series import SeriesModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.modalities.text import TextModality
from app.ml.spec import ColumnSpec, DataSpec, WarningCode
from tests.support import tiny
from tests.support.texts import text_data

NAN = math.nan
FILE = "id,age,member,shop,day,churn\n7,46.6,True,1.0,2024-02-29,stay\n8,20,False,2.0,2024-03-05,leave\n"


def fit(*columns: ColumnSpec, rows: list[list[float]], left_out: tuple[str, ...] = ()) -> TableModality:
    spec = DataSpec(
        modality="table", shape=(len(columns),), columns=columns, left_out=left_out, rows={"train": len(rows)}
    )
    return TableModality.fit(np.array(rows, np.float32), spec)


def category(*names: str) -> TableModality:
    column = ColumnSpec(name="c", type="category", categories=names)
    return fit(column, rows=[[code] for code in range(len(names))])


def customers() -> TableModality:
    return fit(
        ColumnSpec(name="age", type="number"),
        ColumnSpec(name="member", type="category", categories=("False", "True")),
        ColumnSpec(name="shop", type="category", categories=("1.0", "2.0")),
        ColumnSpec(name="day", type="date"),
        rows=[[46.6, 1, 0, 19782], [20, 0, 1, 19787]],
        left_out=("id", "churn"),
    )


def doubts_of(modality: Any, *inputs: Any) -> Doubts:
    doubts = Doubts()
    modality.decode(list(inputs), doubts)
    return doubts


def test_rows_of_the_training_file_are_read_as_a_csv_reader_gives_them() -> None:
    doubts = Doubts()
    rows = customers().decode(list(csv.DictReader(io.StringIO(FILE))), doubts)
    assert rows.tolist() == [[pytest.approx(46.6), 1, 0, 19782], [20, 0, 1, 19787]]
    (warning,) = doubts.warnings()
    assert (warning.code, warning.count, warning.rows) == (WarningCode.IGNORED_KEYS, 2, (0, 1))
    assert "'id', 'churn'" in warning.message
    assert doubts.errors() == []  # what the training file has is never refused


@pytest.mark.parametrize(
    ("names", "code", "values"),
    [
        (("false", "true"), 1, [True, "true", "True", "TRUE", 1, 1.0, "1", "1.0", " true "]),
        (("False", "True"), 0, [False, "false", "FALSE", 0, 0.0, "0", "0.0"]),
        (("0", "1"), 1, [True, "True", 1, 1.0, "1", "1.0"]),
        (("1", "2", "3"), 1, [2, 2.0, "2", "2.0", " 2"]),
        (("1.0", "2.0"), 1, [2, 2.0, "2", "2.0", "2.00"]),
        (("0.5", "1.5"), 1, [1.5, "1.5", "1.50"]),
    ],
)
def test_truths_and_numbers_meet_the_category_that_they_mean(
    names: tuple[str, ...], code: int, values: list[Any]
) -> None:
    table = category(*names)
    assert table.decode([[value] for value in values]).ravel().tolist() == [code] * len(values)
    assert doubts_of(table, *([value] for value in values)).warnings() == []


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (("1", "2"), True),
        (("007", "012"), "7"),
        (("1", "1.0"), "1.00"),
        (("red", "blue"), "Red"),
        (("12E4", "9"), 120000),
        (("a", "true"), "0"),
    ],
)
def test_what_may_mean_something_else_is_an_unknown_category(names: tuple[str, ...], value: Any) -> None:
    (warning,) = doubts_of(category(*names), [value]).warnings()
    assert warning.code == WarningCode.UNKNOWN_CATEGORY


def test_an_unknown_category_is_named_with_its_column_and_a_close_one() -> None:
    doubts = doubts_of(category("red", "blue"), ["red"], ["blu"], ["x"])
    (warning,) = doubts.warnings()
    assert (warning.count, warning.rows) == (2, (1, 2))
    assert warning.message.endswith("count as unknown: 'c' (did you mean 'blue'?).")
    assert [loc for loc, _ in doubts.errors()] == [(1, "c"), (2, "c")]


def test_numbers_far_outside_of_training_are_doubted_and_near_ones_are_not() -> None:
    table = fit(ColumnSpec(name="age", type="number"), rows=[[18], [90]])
    (warning,) = doubts_of(table, [17], [150], [400], [-60]).warnings()
    assert (warning.code, warning.rows) == (WarningCode.OUT_OF_RANGE, (2, 3))
    assert "'age' (training saw 18 to 90)" in warning.message
    other = DataSpec(modality="table", shape=(1,), columns=(ColumnSpec(name="age", type="number"),), rows={"train": 1})
    wider = table.adapted_to(np.array([[395.0]], np.float32), other)
    assert [warning.rows for warning in doubts_of(wider, [17], [400]).warnings()] == []


def test_dates_far_outside_are_doubted() -> None:
    (warning,) = doubts_of(customers(), {**ROW, "day": "1999-01-01"}).warnings()
    assert "'day' (training saw 2024-02-29 to 2024-03-05)" in warning.message


ROW = {"age": 30, "member": True, "shop": 1, "day": "2024-03-01"}


@pytest.mark.parametrize("text", ["46,6", "46.6", " 46.6 ", "+46.6", "4.66e1"])
def test_numbers_are_read_from_texts(text: str) -> None:
    assert customers().decode([{**ROW, "age": text}])[0, 0] == pytest.approx(46.6)


def test_thousands_before_a_comma_are_read() -> None:
    assert fit(ColumnSpec(name="n", type="number"), rows=[[0], [9000]]).decode([["1.234,5"]]) == 1234.5


@pytest.mark.parametrize(
    ("decimal", "text", "number"),
    [
        ("comma", "1.234", 1234),
        ("comma", "-1.234.567,5", -1234567.5),
        ("comma", "1,234", 1.234),
        ("comma", "5.5", 5.5),  # no number of such a file: a program wrote it
        ("comma", "0.205", 0.205),
        ("point", "1,234", 1234),
        ("point", "1,234.5", 1234.5),
        ("point", "46,6", 46.6),
        ("point", "1.234", 1.234),
        (None, "1.234", 1.234),
    ],
)
def test_texts_are_numbers_as_the_training_file_writes_them(decimal: Any, text: str, number: float) -> None:
    column = ColumnSpec(name="n", type="number", decimal=decimal)
    table = fit(column, rows=[[0], [9000]])
    assert table.decode([[text]]) == number
    other = DataSpec(modality="table", shape=(1,), columns=(ColumnSpec(name="n", type="number"),), rows={"train": 1})
    assert table.adapted_to(np.array([[1.0]]), other).decode([[text]]) == number


def test_a_thousand_is_asked_for_where_the_file_does_not_tell() -> None:
    with pytest.raises(InputError, match="expected a number"):
        fit(ColumnSpec(name="n", type="number"), rows=[[0], [9000]]).decode([["1,234"]])


def test_a_fraction_is_an_unknown_category_of_whole_numbers() -> None:
    (warning,) = doubts_of(category("1.0", "2.0"), [1.5]).warnings()
    assert warning.code == WarningCode.UNKNOWN_CATEGORY


def test_nan_in_an_array_is_a_missing_value() -> None:
    table = fit(ColumnSpec(name="a", type="number"), rows=[[1], [NAN]])
    assert np.isnan(table.decode([np.array([NAN])])).all()
    data = tiny.series()
    series = SeriesModality.fit(data.inputs, data.spec)
    values = np.array([[1, 5], [NAN, 5]])
    assert np.array_equal(series.decode([values])[0, :2], values, equal_nan=True)


def test_a_column_without_a_name_is_that_of_pandas_and_harmless() -> None:
    doubts = doubts_of(customers(), {**ROW, "": 0})
    assert [warning.code for warning in doubts.warnings()] == [WarningCode.IGNORED_KEYS]
    assert doubts.errors() == []


def test_a_lone_other_key_is_read_and_said() -> None:
    data = text_data(["one two", "three"])
    text = TextModality.fit(data.inputs, data.spec)
    doubts = doubts_of(text, {"sentence": "three"}, {"text": "three"}, {"text": "one", "truncated": False})
    (warning,) = doubts.warnings()
    assert (warning.code, warning.rows) == (WarningCode.OTHER_KEY, (0,))
    assert (
        warning.message
        == "1 input was read from a key that is not the training file's: 'sentence' (the training file's is 'text')."
    )
    assert [loc for loc, _ in doubts.errors()] == [(0, "sentence")]


@pytest.mark.parametrize(
    "word",
    ["NA", "n.a.", "#N/A", "<NA>", "NaT", "missing", "Undefined", "nil", "???", "--", "\u2013", "...", "#DIV/0!"],
)
def test_a_word_that_preparation_reads_as_missing_is_missing_when_asked(word: str) -> None:
    assert parse_numbers(pa.array([word])).words.all()
    types: list[Literal["number", "date"]] = ["number", "date"]
    table = fit(*(ColumnSpec(name=kind, type=kind) for kind in types), rows=[[NAN, NAN], [2, 3]])
    assert np.isnan(table.decode([dict.fromkeys(types, f" {word} ")])).all()


def test_a_key_that_is_not_there_is_a_missing_value_and_doubtful_where_training_lacked_none() -> None:
    some = ColumnSpec(name="some", type="number")
    table = fit(ColumnSpec(name="all", type="number"), some, rows=[[1, NAN], [2, 3]])
    for row in ({"all": 1}, {"all": 1, "some": "N/A"}):
        assert np.isnan(table.decode([row])[0, 1])
        assert doubts_of(table, row).warnings() == []
    (warning,) = doubts_of(table, {"some": 1}).warnings()
    assert warning.code == WarningCode.MISSING_VALUE
    assert "'all' (no training row lacked it" in warning.message


def test_a_text_that_is_cut_is_doubted() -> None:
    data = text_data(["one two", "three"])
    text = TextModality.fit(data.inputs, data.spec)
    doubts = doubts_of(text, "one two", "one two three", {"text": "three"})
    (warning,) = doubts.warnings()
    assert (warning.code, warning.rows) == (WarningCode.TEXT_TRUNCATED, (1,))
    assert doubts_of(text, "two thre").warnings() == []
    (unknown,) = doubts_of(text, "\u0431\u0432\u0433").warnings()
    assert unknown.code == WarningCode.UNKNOWN_TOKENS


def test_a_text_is_found_under_the_name_of_its_column() -> None:
    data = text_data(["one two", "three"])
    spec = data.spec.model_copy(update={"input_names": ("review",), "left_out": ("label", "id")})
    text = TextModality.fit(data.inputs, spec)
    doubts = Doubts()
    assert text.decode([{"review": "three", "label": "x"}, {"text": "one"}], doubts).tolist() == ["three", "one"]
    assert doubts.warnings()[0].rows == (0,)
    assert doubts.errors() == []
    with pytest.raises(InputError, match="'review'"):
        text.decode([{"label": "x", "a": "one", "b": "two"}])


def test_series_are_read_by_channel_and_by_step() -> None:
    data = tiny.series()
    series = SeriesModality.fit(data.inputs, data.spec)
    stored = series.decode([{"left": [1, 2], "right": ["3", None]}, [[1, 3], [2, None]]])
    assert np.array_equal(stored[0], stored[1], equal_nan=True)
    (warning,) = doubts_of(series, [[0, 5], [1e6, 5]], [[0, 5]]).warnings()
    assert (warning.code, warning.rows) == (WarningCode.OUT_OF_RANGE, (0,))
    wide = DataSpec(
        modality="series",
        shape=(3, 1),
        columns=(ColumnSpec(name="value", type="number"),),
        input_names=("t0", "t1", "t2"),
        left_out=("label",),
        rows={"train": 2},
    )
    steps = SeriesModality.fit(np.arange(6, dtype=np.float32).reshape(2, 3, 1), wide)
    assert steps.decode([{"t0": "1", "t1": "2", "t2": "4.5", "label": "x"}]).ravel().tolist() == [1, 2, 4.5]


def test_pictures_come_as_arrays_too() -> None:
    image = ImageModality(height=2, width=3)
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for value in (pixels, pixels[:, :, None], pixels.astype(float), pixels.tolist(), {"image": pixels}):
        assert image.decode([value])[0, :, :, 0].tolist() == pixels.tolist()
    with pytest.raises(InputError, match="shape"):
        image.decode([pixels.T])


@pytest.mark.parametrize(
    ("header", "name"), [(" b ", "b"), ("b\n(cm)", "b (cm)"), ("gro\u0308sse", "gr\u00f6sse"), ("\tb", "b")]
)
def test_keys_are_names_of_columns_as_preparation_writes_them(header: str, name: str) -> None:
    table = fit(ColumnSpec(name=name, type="number"), rows=[[1], [2]], left_out=("y",))
    doubts = Doubts()
    assert table.decode([{header: 2, " y": "p"}], doubts) == 2
    assert doubts.errors() == []
    data = text_data(["one two", "three"])
    text = TextModality.fit(data.inputs, data.spec.model_copy(update={"input_names": (name,), "left_out": ("y",)}))
    assert doubts_of(text, {header: "three", " y": "p"}).errors() == []
    wide = DataSpec(
        modality="series",
        shape=(2, 1),
        columns=(ColumnSpec(name="value", type="number"),),
        input_names=(name, "c"),
        rows={"train": 2},
    )
    steps = SeriesModality.fit(np.arange(4, dtype=np.float32).reshape(2, 2, 1), wide)
    assert steps.decode([{header: "1", " c": "2"}]).ravel().tolist() == [1, 2]


def test_a_list_of_numbers_is_the_columns_that_preparation_made_of_it() -> None:
    columns = [ColumnSpec(name=name, type="number") for name in ("e0", "e2", "age")]
    table = fit(*columns, rows=[[1, 2, 3], [2, 9, 5], [NAN, NAN, 4]], left_out=("e1", "y"))
    for vector in ([1, 2, 7], np.array([1.0, 2, 7])):
        doubts = Doubts()
        assert table.decode([{"e": vector, "age": 4}], doubts).tolist() == [[1, 7, 4]]
        assert doubts.errors() == []
    assert np.isnan(table.decode([{"e": None, "age": 4}])[0, :2]).all()
    with pytest.raises(InputError, match="a list of 4 numbers is given, and each training row had 3"):
        table.decode([{"e": [1, 2, 3, 4], "age": 4}])


def test_a_file_without_a_header_is_told_how_its_columns_are_called() -> None:
    with pytest.raises(InputError, match="name its columns x0, x1"):
        fit(ColumnSpec(name="x0", type="number"), rows=[[1], [2]]).decode([{"3.5": "4"}])


def test_steps_are_numbers_as_the_training_file_writes_them() -> None:
    wide = DataSpec(
        modality="series",
        shape=(3, 1),
        columns=(ColumnSpec(name="value", type="number", decimal="comma"),),
        input_names=("a", "b", "c"),
        rows={"train": 2},
    )
    series = SeriesModality.fit(np.arange(6.0).reshape(2, 3, 1), wide)
    later = series.adapted_to(np.arange(6.0).reshape(2, 3, 1), wide)
    for modality in (series, later):
        assert modality.decode([{"a": "1.234", "b": "5,5", "c": "5.5"}]).ravel().tolist() == [1234, 5.5, 5.5]


def test_listed_values_are_missing_as_texts_and_as_numbers() -> None:
    columns = (ColumnSpec(name="age", type="number"), ColumnSpec(name="shop", type="category", categories=("u", "v")))
    fields = {"shape": (2,), "columns": columns, "missing_values": ("-999", "none"), "rows": {"train": 2}}
    spec = DataSpec.model_validate({"modality": "table", **fields})
    table = TableModality.fit(np.array([[20, 0], [NAN, NAN], [30, 1]]), spec)
    for modality in (table, table.adapted_to(np.array([[20.0, 0]]), spec)):
        rows = modality.decode([[-999, "none"], ["-999", " none "], ["-999.0", "none"], [-999.0, None], [20, "u"]])
        assert np.isnan(rows[:4]).all()
        assert rows[4].tolist() == [20, 0]
