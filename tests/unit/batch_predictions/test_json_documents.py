"""One JSON document in the ways in which people write rows, whatever its size: every row once, from any row on."""

import json
from typing import Any

import pytest

from app.batch_predictions.row_files import Expected, check_format
from app.batch_predictions.row_files.base import MAX_BLOCK_ROWS
from app.datasets.errors import DatasetError
from tests.support.row_files import IMAGE, SERIES, TABLE, TEXT, Reader

COUNT = 2 * MAX_BLOCK_ROWS + 7
ROWS = [{"age": number, "city": 'Bern, "old", [1] {2}' if number % 2 else "Zürich\\"} for number in range(COUNT)]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("age", "city")}
WRITTEN: dict[str, Any] = {
    "list": ROWS,
    "request": {"unknown": "warn", "inputs": ROWS},
    "page": {"data": [{"row": 1, "split": "test", "input": row, "targets": {}} for row in ROWS], "next": None},
    "columns": COLUMNS,
    "frame": {name: {str(row): value for row, value in enumerate(values)} for name, values in COLUMNS.items()},
    "split": {"columns": list(COLUMNS), "index": list(range(COUNT)), "data": [list(row.values()) for row in ROWS]},
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", WRITTEN)
def test_rows_are_those_of_the_document(reader: Reader, kind: str, indent: int | None) -> None:
    for is_ascii in (True, False):
        text = json.dumps(WRITTEN[kind], indent=indent, ensure_ascii=is_ascii)
        assert reader.rows(text) == ROWS
    assert reader.open(text).columns == {"age": "whole", "city": "text"}
    assert reader.notes.decisions[0].field == "format"


def test_a_row_that_is_no_json_fails_alone(reader: Reader) -> None:
    rows = reader.rows('[\n{"age": 1},\n{"age": NaN},\n{"age": 2},\n{"age": 1, "age": 2}\n]\n')
    assert [rows[0], rows[2]] == [{"age": 1}, {"age": 2}]
    assert rows[1] == "!row 1: NaN is not JSON; leave the value out or send a number"
    assert "stands twice" in rows[3]
    rows = reader.rows('{"age": [1, tru, 3], "city": ["Bern", "Basel", "Chur"]}')
    assert rows[1].startswith("!row 1, column age: not JSON")
    assert rows[2] == {"age": 3, "city": "Chur"}


REFUSED = {
    "cut off": ('[\n{"age": 1},\n{"age"', "cut off"),
    "lengths": ('{"age": [1, 2], "city": ["Bern"]}', "column 'city' has 1 values and column 'age' has more"),
    "other rows": ('{"age": {"0": 1}, "city": {"1": "Bern"}}', "row 0 is '0' in one column and '1' in another"),
    "rows by key": ('{"a": {"age": 1}, "b": {"age": 2}}', 'orient="records"'),
    "names": ('{"columns": ["age", "age"], "data": [[1, 2]]}', "a name for each column"),
    "twice": ('{"age": [1],\n"age": [2]}', "stands twice"),
    "nothing": ("[\n]", "holds no rows"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_document_that_says_no_rows_is_refused(reader: Reader, kind: str) -> None:
    content, words = REFUSED[kind]
    with pytest.raises(DatasetError, match=words):
        reader.open(content)


def test_what_is_one_row_stays_one(reader: Reader) -> None:
    """Lists may be rows: a series, a picture, or numbers that became columns."""
    assert reader.rows("[61, 64, 63]\n", SERIES) == [[61, 64, 63]]
    assert reader.rows("[\n61,\n64\n]\n", SERIES) == [[61, 64]]
    assert reader.rows('{"load": [61, 64]}', SERIES) == [{"load": [61, 64]}]
    assert reader.rows("[[61, 64], [121, 125, 119]]", SERIES) == [[61, 64], [121, 125, 119]]
    two = Expected("series", inputs=("load", "heat"), channels=2)
    assert reader.rows("[[61, 64], [121, 125]]", two) == [[[61, 64], [121, 125]]]
    assert reader.rows("[[[61, 64]], [[121, 125]]]", two) == [[[61, 64]], [[121, 125]]]
    assert reader.rows("[[0, 1], [2, 3]]", IMAGE) == [[[0, 1], [2, 3]]]
    vectors = Expected("table", inputs=("e0", "e1"))
    assert reader.rows('{"e": [1, 2]}', vectors) == [{"e": [1, 2]}]
    assert reader.rows('{\n  "age": 41,\n  "city": "Bern"\n}', TABLE) == [{"age": 41, "city": "Bern"}]


def test_texts_are_rows_of_a_list(reader: Reader) -> None:
    assert reader.rows('["One, two.", "Three."]', TEXT, "texts.json") == ["One, two.", "Three."]
    assert reader.rows('{"texts": ["One.", "Two."], "source": "x"}', TEXT) == ["One.", "Two."]
    assert reader.notes.decisions[-1].value == "the rows are those under 'texts'; not read: 'source'"
    assert reader.rows("[a note]\n", TEXT, "note.txt") == ["[a note]"]


def test_a_document_is_taken_before_it_is_stored(reader: Reader) -> None:
    reader.open('[\n{"age": 1}\n]')
    check_format(reader.folder / "file")


def test_a_table_of_lists_is_a_document(reader: Reader) -> None:
    assert reader.rows('[[41, "Bern"], [42, "Chur"]]\n') == [[41, "Bern"], [42, "Chur"]]
    assert reader.rows("\ufeff" + json.dumps(ROWS[:2])) == ROWS[:2]
    assert reader.rows(json.dumps(ROWS[:2]).encode("utf-16")) == ROWS[:2]
