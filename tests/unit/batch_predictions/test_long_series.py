"""Series in long form: a line for each step, in any order; one row for each series, with its id."""

import json
from typing import Any

import pytest

from app.batch_predictions.row_files import Expected
from app.batch_predictions.row_files.base import MAX_BLOCK_ROWS
from app.datasets.errors import DatasetError
from app.datasets.options import SeriesOptions
from tests.support.row_files import SERIES, Reader, packed

TIMED = SeriesOptions(id="patient", time="t")
LONG = Expected("series", inputs=("load", "heat"), channels=2, steps=5, series=TIMED)
PLAIN = Expected("series", inputs=("load",), steps=5, series=SeriesOptions(id="patient"))


def lines(series: dict[str, int]) -> list[str]:
    """So many steps of each series, by their ids: loads count up, and heats are those of the series."""
    return [
        f"{name},{step},{step}.5,{number}\n"
        for number, (name, steps) in enumerate(series.items())
        for step in range(steps)
    ]


def table(rows: list[str]) -> str:
    return "patient,t,load,heat\n" + "".join(rows)


def test_lines_of_one_id_are_one_row_ordered_by_time(reader: Reader) -> None:
    rows = lines({"b": 3, "a": 2, "c": 1})
    rows = [rows[place] for place in (4, 1, 5, 0, 3, 2)]
    first = list(dict.fromkeys(row[0] for row in rows))
    found = reader.rows(table(rows), LONG)
    assert [row["patient"] for row in found] == first
    by_id = {row["patient"]: row for row in found}
    assert by_id["b"]["load"] == ["0.5", "1.5", "2.5"]
    assert by_id["a"] == {"patient": "a", "t": "0", "load": ["0.5", "1.5"], "heat": ["1", "1"]}
    assert reader.notes.decisions[0].value == "3 series"


def test_many_series_are_read_from_any_block_on(reader: Reader) -> None:
    count = 2 * MAX_BLOCK_ROWS + 3
    rows = reader.rows(table(lines({f"p{number}": 1 + number % 4 for number in range(count)})), LONG)
    assert [row["patient"] for row in rows] == [f"p{number}" for number in range(count)]
    assert [len(row["load"]) for row in rows] == [1 + number % 4 for number in range(count)]


def test_without_a_time_the_order_is_that_of_the_file(reader: Reader) -> None:
    assert reader.rows("patient,load\n1,5\n2,7\n1,4\n", PLAIN) == [
        {"patient": "1", "load": ["5", "4"]},
        {"patient": "2", "load": ["7"]},
    ]


def test_times_are_numbers_or_dates(reader: Reader) -> None:
    one = Expected("series", inputs=("load",), series=TIMED)
    for times in (["10", "9", "100"], ["2024-02-01", "2024-01-31T23:59", "2024-10-01"], ["2,5", "-1", "1e3"]):
        text = "patient;t;load\n" + "".join(f"a;{time};{place}\n" for place, time in enumerate(times))
        assert [row["load"] for row in reader.rows(text, one)] == [["1", "0", "2"]]


FORMS = {
    "lines": '{"patient":7.0,"t":2,"load":2}\n{"patient":8,"t":2,"load":2}\n{"patient":7,"t":1,"load":1}\n'
    '{"patient":" 8","t":1,"load":1}\n',
    "document": json.dumps([{"patient": n, "t": t, "load": t} for t in (2, 1) for n in (7, 8)]),
    "columns": json.dumps({"patient": [7, 8, 7, 8], "t": [2, 2, 1, 1], "load": [2, 2, 1, 1]}),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_table_may_be_long(reader: Reader, form: str) -> None:
    rows = reader.rows(FORMS[form], Expected("series", inputs=("load",), series=TIMED))
    assert [(int(row["patient"]), row["load"]) for row in rows] == [(7, [1, 2]), (8, [1, 2])]


def test_a_series_may_go_on_in_the_next_table_of_a_zip(reader: Reader) -> None:
    content = packed(a_csv=table(["x,1,1,1\n"]), b_csv=table(["x,0,0,0\n", "y,0,0,0\n"]))
    rows = reader.rows(content, LONG)
    assert [row["load"] for row in rows] == [["0", "1"], ["0"]]
    file = reader.open(content, LONG)
    assert [block.files for block in file.blocks(0)] == [["a.csv", "b.csv"]]


def test_a_series_that_is_too_long_fails_alone_with_its_id(reader: Reader) -> None:
    file = reader.open(table(lines({"a": 6, "b": 5})), LONG)
    (block,) = file.blocks(0)
    assert block.errors == {0: "the series has 6 steps; the model takes at most 5"}
    assert [row["patient"] for row in block.inputs] == ["a", "b"]


def test_other_columns_are_those_of_the_first_step(reader: Reader) -> None:
    text = "patient,ward,note,t,load,heat\na,W1,late,1,1,1\na,W1,early,0,0,0\n"
    (row,) = reader.rows(text, LONG)
    assert (row["ward"], row["note"]) == ("W1", "early")
    assert [decision.field for decision in reader.notes.decisions[:2]] == ["series", "keep.note"]


REFUSED: dict[str, tuple[str, str]] = {
    "id": ("patient,t,load,heat\n,1,1,1\n", "row 0: column patient says which series"),
    "time": (table(["a,1,1,1\n", "a,soon,1,1\n"]), "row 1: column t orders .* and holds 'soon'"),
    "kinds": (table(["a,1,1,1\n", "a,2024-01-01,1,1\n"]), "row 1: column t holds numbers and dates"),
    "width": (table(["a,1,1,1\n", "a,2,1\n"]), "row 1: line 3 has 3 fields"),
    "channel": ("patient,t,load\na,1,1\n", "the model names the column 'heat'"),
    "column": ("id,t,load,heat\na,1,1,1\n", "series.id names the column 'patient'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_says_no_series_is_refused(reader: Reader, kind: str) -> None:
    content, words = REFUSED[kind]
    with pytest.raises(DatasetError, match=words):
        reader.open(content, LONG)


def test_a_file_of_whole_series_is_none_of_lines(reader: Reader) -> None:
    rows: list[Any] = [{"patient": 1, "load": [1, 2]}, {"patient": 2, "load": [3]}]
    assert reader.rows("".join(f"{json.dumps(row)}\n" for row in rows), PLAIN) == rows
    assert reader.rows("[1, 2]\n[3]\n", PLAIN) == [[1, 2], [3]]
    chosen = Expected("series", inputs=("load",), series=TIMED, is_long=True)
    with pytest.raises(DatasetError, match="are series already"):
        reader.open(json.dumps(rows[0]), chosen)


def test_lines_of_a_model_that_learned_whole_series_are_refused_with_the_remedy(reader: Reader) -> None:
    with pytest.raises(DatasetError, match=r'say which column .*series={"id"'):
        reader.open("patient,load\na,1\na,2\n", SERIES)
