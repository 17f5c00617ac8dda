"""Parquet: plain columns are read, everything else is refused in words."""

import datetime as dt
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits

from .conftest import Preparer, Refuser

N = 40


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


PLAIN = {
    "i": pa.array(range(N), pa.int32()),
    "f": pa.array([None if k % 7 == 0 else k / 3 for k in range(N)], pa.float32()),
    "b": pa.array([None if k == 5 else k % 2 == 0 for k in range(N)]),
    "s": pa.array([None if k == 6 else ("x", "y", "z")[k % 3] for k in range(N)]),
    "d": pa.array([("p", "q")[k % 2] for k in range(N)]).dictionary_encode(),
    "label": pa.array([("no", "yes")[k % 2] for k in range(N)], pa.large_string()),
}


def test_plain_columns(make: Preparer) -> None:
    done = make(parquet(PLAIN, row_group_size=7))
    assert [(column.name, column.type) for column in done.spec.columns] == [
        ("i", "number"),
        ("f", "number"),
        ("b", "number"),
        ("s", "category"),
        ("d", "category"),
    ]
    inputs = done.array("inputs")
    np.testing.assert_array_equal(inputs[:, 0], np.arange(N))
    assert [column.missing for column in done.report.columns] == [0, 6, 1, 1, 0]
    assert inputs[:3, 3].tolist() == [0, 1, 2]
    assert done.spec.targets[0].classes == ("no", "yes")


def test_text_columns_stay_text(make: Preparer) -> None:
    codes = pa.array([("007", "12")[k % 2] for k in range(N)])
    done = make(parquet({"code": codes, "i": PLAIN["i"]}))
    assert done.spec.columns[0].categories == ("007", "12")


def test_big_integers_are_defined(make: Preparer) -> None:
    done = make(parquet({"big": pa.array([2**63 + k * 2**20 for k in range(N)], pa.uint64()), "i": PLAIN["i"]}))
    assert "2^53" in done.warning("digits_lost").message


def test_infinity_is_refused_and_nan_is_missing(make: Preparer, refused: Refuser) -> None:
    values = np.arange(N, dtype=np.float64)
    values[3], values[4] = np.nan, np.inf
    content = parquet({"f": pa.array(values), "i": PLAIN["i"]})
    assert refused(Code.BAD_NUMBER, content).errors[0].row == 4
    assert make(content, missing="impute").report.columns[0].missing == 2


def test_pandas_index_is_left_out(make: Preparer) -> None:
    done = make(parquet({"i": PLAIN["i"], "__index_level_0__": PLAIN["i"]}))
    assert done.spec.shape == (1,)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a": 1}] * N),
        pa.array([b"x"] * N),
    ],
)
def test_other_types_are_refused(refused: Refuser, column: Any) -> None:
    error = refused(Code.UNSUPPORTED_COLUMN, parquet({"i": PLAIN["i"], "odd": column}))
    assert error.errors[0].loc == ("odd",)


def test_an_ignored_column_may_be_of_any_type(make: Preparer, refused: Refuser) -> None:
    columns = {"a": pa.array([{"b": "x", "c": dt.date(2020, 1, 1)}] * N), "i": PLAIN["i"], "a.b": PLAIN["i"]}
    error = refused(Code.UNSUPPORTED_COLUMN, parquet(columns))
    assert 'columns={"a": "ignored"}' in str(error)
    done = make(parquet(columns), columns={"a": "ignored"})
    assert [column.name for column in done.spec.columns] == ["i", "a.b"]
    np.testing.assert_array_equal(done.array("inputs")[:, 0], done.array("inputs")[:, 1])
    refused(Code.NO_INPUTS, parquet(columns), columns=dict.fromkeys(columns, "ignored"))


def test_an_encrypted_footer_is_named(refused: Refuser) -> None:
    refused(Code.ENCRYPTED, b"PARE" + bytes(100) + b"PARE")


def test_damage_is_refused(refused: Refuser) -> None:
    good = parquet(PLAIN)
    refused(Code.BAD_PARQUET, good[:-10])
    refused(Code.BAD_PARQUET, b"PAR1" + b"\0" * 100 + b"PAR1")
    refused(Code.BAD_PARQUET, b"PAR1\xff\xff\xff\x7fPAR1")
    refused(Code.ENCRYPTED, good[:-4] + b"PARE")
    spoiled = bytearray(good)
    spoiled[4:200] = b"\xff" * 196
    refused(Code.BAD_PARQUET, bytes(spoiled))


def test_text_that_is_not_utf8_is_refused(refused: Refuser) -> None:
    text = pa.StringArray.from_buffers(N, pa.py_buffer(np.arange(N + 1, dtype=np.int32)), pa.py_buffer(b"\xff" * N))
    for dictionary in (True, False):
        refused(Code.BAD_PARQUET, parquet({"i": PLAIN["i"], "s": text}, use_dictionary=dictionary))


def test_columns_and_sizes(refused: Refuser) -> None:
    table = pa.table([PLAIN["i"], PLAIN["i"]], names=["a", "a"])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    refused(Code.DUPLICATE_COLUMNS, sink.getvalue())
    refused(Code.EMPTY_DATASET, parquet({"i": pa.array([], pa.int32())}))
    refused(Code.TOO_LARGE, parquet(PLAIN), Limits(rows=10))
    refused(Code.TOO_LARGE, parquet(PLAIN), Limits(cells=100))
    refused(Code.TOO_LARGE, parquet(PLAIN), Limits(columns=3))
    refused(Code.TOO_LARGE, parquet({"s": pa.array(["x" * 200] * N)}), Limits(field_chars=100))
    refused(Code.TOO_LARGE, parquet({"s": pa.array(["x" * 200] * N)}), Limits(text_bytes=5000))
