"""JSON Lines: tables, texts and series; every fault names its line or row."""

import json
from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits
from app.datasets.readers import json_table, jsonl

from .conftest import Preparer, Refuser


def lines(*rows: Any) -> str:
    return "\n".join(json.dumps(row) for row in rows)


TABLE = [
    {"n": i, "f": i / 2, "s": "xyz"[i % 3], "flag": i % 2 == 0, "code": str(i % 4), "label": "ab"[i % 2]}
    for i in range(40)
]


def test_types_are_what_json_says(make: Preparer) -> None:
    done = make(lines(*TABLE))
    assert done.report.source.format == "jsonl"
    assert [(column.name, column.type) for column in done.spec.columns] == [
        ("n", "number"),
        ("f", "number"),
        ("s", "category"),
        ("flag", "number"),
        ("code", "category"),  # "3" in quotes is text
    ]
    assert done.spec.targets[0].classes == ("a", "b")
    np.testing.assert_array_equal(done.array("inputs")[:, 1], np.arange(40) / 2)


def test_the_same_rows_as_csv_make_the_same_dataset(make: Preparer) -> None:
    rows = [{"a": i, "b": i * 0.5, "label": "pq"[i % 2]} for i in range(40)]
    csv = "a,b,label\n" + "".join(f"{row['a']},{row['b']},{row['label']}\n" for row in rows)
    from_json, from_csv = make(lines(*rows)), make(csv)
    for name in ("inputs", "targets", "split", "rows"):
        np.testing.assert_array_equal(from_json.array(name), from_csv.array(name))


def test_a_key_that_a_row_lacks_is_missing_there(make: Preparer) -> None:
    rows: list[dict[str, Any]] = [{"a": i, "late": "xy"[i % 2]} if i > 5 else {"a": i} for i in range(20)]
    rows[7]["late"] = None
    done = make(lines(*rows))
    missing = np.isnan(done.array("inputs")[:, 1])
    assert np.flatnonzero(missing).tolist() == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("size", [1, 200])
def test_pieces_do_not_show(make: Preparer, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    last = [{"s": "w"}, {"new": 3.5, "late": 1}, {"new": 4.5, "late": 2}]
    rows = lines(*({"late": None, **row} for row in TABLE), *(row | {"label": "a"} for row in last))
    whole = make(rows)
    monkeypatch.setattr(json_table, "PACKED_BYTES", size)
    cut = make(rows)
    assert cut.spec == whole.spec
    assert cut.array("inputs")[-1, 0] == 2
    np.testing.assert_array_equal(cut.array("inputs"), whole.array("inputs"))


def test_blank_lines_line_ends_and_bom(make: Preparer) -> None:
    done = make("\ufeff" + lines(*TABLE[:20]).replace("\n", "\r\n\r\n") + "\n\n")
    assert done.report.rows.read == 20
    assert done.says("20 blank lines")


@pytest.mark.parametrize(
    ("code", "content", "words"),
    [
        (Code.BAD_JSON, '{"a": 1}\n{"a": 2,}\n', "line 2: not JSON"),
        (Code.BAD_JSON, '{"a": 1}\n{"a": 1, "a": 2}\n', "line 2: the key 'a' stands twice"),
        (Code.BAD_JSON, '{"a": 1}\n{"a": NaN}\n', "line 2: NaN is not JSON"),
        (Code.BAD_JSON, '{"a": 1}\n3\n', "line 2: a row is an object"),
        (Code.BAD_JSON, '{"a": 1}\n\n{"a": "x\\u0000"}\n', "line 3: a string holds a NUL"),
        (Code.BAD_JSON, '{"a": "\\ud800"}\n', "half of a surrogate pair"),
        (Code.BAD_JSON, '{"a": ' + "[" * 70 + "]" * 70 + "}\n", "nested deeper than 64"),
        (Code.BAD_JSON, '{"a": ' + "[" * 100_000 + "}\n", "nested deeper than 64"),
        (Code.BAD_JSON, '{"a": ' + "9" * 5000 + "}\n", "too many digits"),
        (Code.BAD_JSON, '{"a": 1}\n{"a": 1\n', "line 2: not JSON"),
        (Code.BAD_JSON, '{"a": 1} {"a": 2}\n', "line 1: not JSON"),
        (Code.ENCODING, b'{"a": 1}\n{"a": "\xff"}\n', "line 2: it is not UTF-8"),
        (Code.MIXED_TYPES, '{"a": 1}\n{"a": "2"}\n', "row 1: column a holds text and rows before hold numbers"),
        (Code.MIXED_TYPES, '{"a": true}\n{"a": 2}\n', "row 1: column a holds numbers"),
        (Code.MIXED_TYPES, '{"a": 1}\n{"a": {"b": 1}}\n', "row 1: column a holds an object"),
        (Code.MIXED_TYPES, '{"a": 1}\n{"a": [1]}\n', "row 1: column a holds a list"),
        (Code.MIXED_TYPES, '{"a": 1}\n[1, 2]\n', "row 1: some lines are lists"),
        (Code.BAD_NUMBER, '{"a": 1}\n{"a": 1e999}\n', "no finite numbers"),
        (Code.BAD_NAME, '{"": 1}\n{"": 2}\n', "column 1 has no name"),
        (Code.DUPLICATE_COLUMNS, '{"caf\u00e9": 1, "cafe\u0301": 2}\n', "more than once"),
        (Code.EMPTY_DATASET, '{"a": 1}\n'.replace('"a": 1', "") + "{}\n", "no columns"),
        (Code.UNSUPPORTED_FORMAT, '{\n "a": 1\n}\n', "JSON Lines"),
        (Code.UNSUPPORTED_FORMAT, '[{"a": 1}, {"a": 2}]', "JSON Lines"),
        (Code.UNKNOWN_COLUMN, '{"a": 1}\n', "no column 'b'"),
    ],
)
def test_refused(refused: Refuser, code: Code, content: str | bytes, words: str) -> None:
    options = {"columns": {"b": "target"}} if code is Code.UNKNOWN_COLUMN else {}
    assert words in refused(code, content, **options).message


def test_all_bad_rows_are_named_at_once(refused: Refuser) -> None:
    rows = [{"a": i, "b": "x"} for i in range(10)]
    rows[3]["a"] = "three"
    rows[7]["b"] = 7
    error = refused(Code.MIXED_TYPES, lines(*rows))
    assert [(fault.loc, fault.row) for fault in error.errors] == [(("a",), 3), (("b",), 7)]


def test_bounds(refused: Refuser, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [{f"c{i}": 1 for i in range(20)}, {f"d{i}": 1 for i in range(20)}]
    refused(Code.TOO_LARGE, lines(*wide), Limits(columns=30))
    refused(Code.TOO_LARGE, lines(*TABLE), Limits(rows=39))
    refused(Code.TOO_LARGE, lines(*TABLE), Limits(cells=100))
    error = refused(Code.TOO_LARGE, lines({"t": "x" * 10}, {"t": "x" * 11}), Limits(field_chars=10))
    assert "row 1: t has 11 characters" in error.message
    monkeypatch.setattr(jsonl, "MAX_LINE", 1000)
    assert "line 2: it is longer" in refused(Code.TOO_LARGE, lines({"t": "x"}, {"t": "x" * 2000})).message


def test_series_are_lists(make: Preparer) -> None:
    done = make(lines(*([float(i), None, i * 2] if i % 2 else [i, 1] for i in range(20))))
    assert done.spec.modality == "series"
    assert done.spec.shape == (3, 1)
    nan = np.nan
    np.testing.assert_array_equal(done.array("inputs")[:2, :, 0], [[0, 1, nan], [1, nan, 2]])


def test_series_of_channels_with_labels(make: Preparer) -> None:
    rows = [{"label": "ab"[i % 2], "signal": [[i, 1.5]] * (1 + i % 3)} for i in range(30)]
    done = make(lines(*rows))
    assert done.spec.shape == (3, 2)
    assert [column.name for column in done.spec.columns] == ["signal0", "signal1"]
    assert done.spec.targets[0].classes == ("a", "b")
    assert done.array("inputs")[4, :2].tolist() == [[4, 1.5], [4, 1.5]]


def test_series_without_values_are_removed(make: Preparer) -> None:
    rows: list[dict[str, Any]] = [{"k": i % 3, "signal": [i, 2]} for i in range(20)]
    rows[0]["signal"], rows[4]["signal"], rows[5]["signal"] = None, [], [None, None]
    del rows[9]["signal"]
    done = make(lines(*rows), columns={"k": "group"})
    assert done.report.rows.removed["corrupt"] == 4
    assert [removal.row for removal in done.report.removals] == [0, 4, 5, 9]
    assert "no value" in done.report.removals[0].detail
    assert done.array("rows").tolist() == [i for i in range(20) if i not in {0, 4, 5, 9}]
    assert done.array("inputs")[0].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("code", "rows", "words"),
    [
        (Code.BAD_SERIES, [[1, 2], [1, "2"]], "row 1: the series holds something"),
        (Code.BAD_SERIES, [[1, 2], [True, 2]], "row 1: the series holds something"),
        (Code.BAD_SERIES, [[1, 2], [[1], 2]], "row 1: the series mixes"),
        (Code.BAD_SERIES, [[[1, 2], [1]]], "row 0: the series has steps of 2"),
        (Code.BAD_SERIES, [[[1, 2]], [1]], "series 1: it has 1 channels and those before have 2"),
        (Code.BAD_SERIES, [{"s": [1]}, {"s": 0}], "row 1: the series in s is no list"),
        (Code.BAD_SERIES, [[[[1]]]], "holds something"),
        (Code.BAD_NUMBER, [[1, 10**400]], "series 0: inf"),
        (Code.EMPTY_DATASET, [[None], []], "none of the 2 series"),
        (Code.MIXED_TYPES, [{"s": [1], "t": [1]}], "column t holds a list"),
    ],
)
def test_bad_series_are_refused_by_row(refused: Refuser, code: Code, rows: list[Any], words: str) -> None:
    assert words in refused(code, lines(*rows)).message


def test_infinite_steps_may_be_imputed(make: Preparer) -> None:
    done = make(lines(*([i, 1] for i in range(10)), [10**400, 3]), missing="impute")
    assert np.isnan(done.array("inputs")[10, 0, 0])


def test_lists_of_references_are_no_json(make: Preparer) -> None:
    """What a CSV file was before JSON Lines were read, it still is."""
    done = make("[1] n,[2] m\n" + "".join(f"{i},{i * i}\n" for i in range(9)))
    assert [column.name for column in done.spec.columns] == ["[1] n", "[2] m"]
