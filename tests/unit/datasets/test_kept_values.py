"""Values are kept as they were uploaded: to the last bit of a number, to the microsecond of a date."""

import datetime as dt
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.canonical.rows import preview
from app.datasets.frames.digests import digest_rows, group_ids
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare
from app.ml.spec import ColumnSpec

from .conftest import Preparer, npz

FLOAT32_MAX = float(np.finfo(np.float32).max)
NUMBERS = st.floats(-FLOAT32_MAX, FLOAT32_MAX, allow_nan=False) | st.integers(-(2**53), 2**53).map(float)
CLOSE = st.sampled_from([0.0, -0.0, 1.0, 1 + 2**-52, 1 + 2**-24, 16777216.0, 16777217.0, 1.7e9, 1.7e9 + 1, 0.1, 46.6])
FIRST, LAST = dt.datetime.fromisoformat("1790-07-01"), dt.datetime.fromisoformat("2149-01-01")
DATES = st.datetimes(FIRST, LAST)
ROWS = st.lists(st.tuples(NUMBERS | CLOSE, DATES), min_size=3, max_size=30, unique_by=lambda row: row[0])


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """Prepare bytes, keeping all rows, and return them as people see them, in the order of the file."""
    with TemporaryDirectory() as name:
        source, out = Path(name) / "source", Path(name) / "out"
        source.write_bytes(content)
        out.mkdir()
        done = prepare(
            source, "upload", PrepareOptions(duplicates="keep"), out, Limits(), lambda _fraction, _message: None
        )
        return preview(out, done.spec, 0, 1000)


def written(rows: list[tuple[float, dt.datetime]]) -> pa.Table:
    numbers, moments = zip(*rows, strict=True)
    return pa.table({"x": pa.array(numbers, pa.float64()), "when": pa.array(moments, pa.timestamp("us"))})


def equal(rows: list[dict[str, Any]], table: pa.Table) -> None:
    """Assert that the numbers are the same floats and the dates the same microseconds, null where nothing is."""
    for column, values in table.to_pydict().items():
        shown = [row["input"].get(column) for row in rows]
        if not any(shown):
            assert len(set(values)) == 1, "only what is the same in every row is left out"
        elif isinstance(values[0], dt.datetime):
            assert [dt.datetime.fromisoformat(value) for value in shown] == values
        else:
            assert shown == values


@settings(max_examples=25)
@given(rows=ROWS)
def test_rows_of_a_csv_are_what_pyarrow_reads(rows: list[tuple[float, dt.datetime]]) -> None:
    text = "x,when\n" + "".join(f"{number!r},{moment.isoformat()}\n" for number, moment in rows)
    table = pa.csv.read_csv(io.BytesIO(text.encode()))
    equal(rows_of(text.encode()), table.set_column(1, "when", table["when"].cast(pa.timestamp("us"))))


@settings(max_examples=25)
@given(rows=ROWS, unit=st.sampled_from(["us", "ns"]))
def test_rows_of_a_parquet_are_what_was_written(rows: list[tuple[float, dt.datetime]], unit: str) -> None:
    table, file = written(rows), io.BytesIO()
    pa.parquet.write_table(table.set_column(1, "when", table["when"].cast(pa.timestamp(unit))), file)
    equal(rows_of(file.getvalue()), table)


@settings(max_examples=25)
@given(numbers=st.lists(st.lists(NUMBERS | CLOSE, min_size=2, max_size=2), min_size=2, max_size=20))
def test_series_and_their_equality_are_those_of_the_upload(numbers: list[list[float]]) -> None:
    lines = "".join(f"[{first!r}, {second!r}]\n" for first, second in numbers)
    assert [row["input"] for row in rows_of(lines.encode())] == [[[value] for value in series] for series in numbers]


@given(rows=st.lists(st.lists(NUMBERS | CLOSE | st.just(np.nan), min_size=3, max_size=3), min_size=1, max_size=30))
def test_no_two_different_rows_have_one_digest(rows: list[list[float]]) -> None:
    ids = group_ids(digest_rows(np.array(rows)))
    keys = [tuple(None if np.isnan(value) else value for value in row) for row in rows]
    for i, key in enumerate(keys):
        assert [ids[j] == ids[i] for j in range(len(keys))] == [other == key for other in keys]


def test_names_whose_bits_collide_are_different() -> None:
    """The SHA-256 of these two begins with the same 32 bits, which stood for a name in earlier releases."""
    column = ColumnSpec(name="c", type="category", categories=("c17439", "c24164"))
    digests = digest_rows(np.array([[0.0], [1.0]]), (column,))
    assert (digests[0] != digests[1]).any()


def test_what_float32_holds_has_the_digests_of_earlier_releases() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    short = rows.astype(np.float32)
    np.testing.assert_array_equal(digest_rows(short.astype(np.float64)), digest_rows(short))
    np.testing.assert_array_equal(digest_rows(rows, rounded=True), digest_rows(short))
    assert (digest_rows(rows) != digest_rows(short)).any(axis=1).all()


@pytest.mark.parametrize(
    ("column", "first", "step"),
    [("order_no", 4_500_000_000, 7), ("seconds", 1_700_000_000, 1), ("minutes", 28_333_333, 1), ("amount", 0.1, 0.1)],
)
def test_numbers_beyond_float32_are_not_called_duplicates(
    make: Preparer, column: str, first: float, step: float
) -> None:
    values = [first + step * k for k in range(600)]
    text = f"{column},qty,returned\n" + "".join(f"{v!r},{k % 3},{'yn'[k % 7 > 2]}\n" for k, v in enumerate(values))
    done = make(text, duplicates="remove")
    assert done.report.rows.kept == 600
    np.testing.assert_array_equal(done.array("inputs")[:, 0], values)


def test_minutes_of_a_day_are_kept(make: Preparer) -> None:
    start = dt.datetime.fromisoformat("2024-03-01")
    moments = [start + dt.timedelta(minutes=k) for k in range(400)]
    done = make("time,ok\n" + "".join(f"{m:%Y-%m-%d %H:%M},{'yn'[k % 2]}\n" for k, m in enumerate(moments)))
    assert done.report.rows.kept == 400
    shown = preview(done.folder, done.spec, 0, 400)
    assert [dt.datetime.fromisoformat(row["input"]["time"]) for row in shown] == moments


def test_rows_of_earlier_releases_are_shown_as_they_were_meant(make: Preparer) -> None:
    """Their inputs are float32: 46.599998474 was 46.6."""
    done = make(npz(x=np.array([[46.6, 1], [0.1, 2], [1e-7, 3]])))
    np.save(done.folder / "inputs.npy", done.array("inputs").astype(np.float32))
    assert [row["input"]["x0"] for row in preview(done.folder, done.spec, 0, 3)] == [46.6, 0.1, 1e-7]
