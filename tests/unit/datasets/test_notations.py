"""Columns in notations that are not read: they are named, with the way to write them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code
from app.ml.interfaces.doubts import Doubts
from tests.unit.datasets.conftest import Preparer, Refuser, npz
from tests.unit.datasets.test_own_rows import fitted

ROWS = range(80)
DAYS = [date(2020, 1, 1) + timedelta(days=5 * i) for i in ROWS]


def column(values: list[Any], delimiter: str = ";") -> str:
    lines = [delimiter.join(map(str, (value, 1.5 * i, "ab"[i % 13 % 2]))) for i, value in enumerate(values)]
    return "\n".join([delimiter.join(("v", "size", "label")), *lines, ""])


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ([f"{day:%d-%b-%Y}" for day in DAYS], "2024-02-29"),
        ([f"{day:%b %d, %Y}" for day in DAYS], "2024-02-29"),
        ([f"{day:%A, %d %B %Y}" for day in DAYS], "2024-02-29"),
        ([f"{day:%a, %d %b %Y} 10:00:00 GMT" for day in DAYS], "2024-02-29"),
        ([f"{day:%Y-W%V}-{i % 7}" for i, day in enumerate(DAYS)], "2024-02-29"),
        ([f"{day:%Y-%j}" for day in DAYS], "2024-02-29"),
        ([f"{day:%Y%m%d}T101500Z" for day in DAYS], "2024-02-29"),
        ([f"{day} 10:00:00 CET" for day in DAYS], "2024-02-29"),
        ([f"{i}d {i % 24}h" for i in ROWS], "of minutes"),
        ([f"PT{i}H{i % 60}M" for i in ROWS], "of minutes"),
        ([f"{i} days 0{i % 10}:30:00" for i in ROWS], "of minutes"),
        ([f"{i}kg" for i in ROWS], "all in one unit"),
        ([f"{i}.5D+03" for i in ROWS], "1.5E+03"),
    ],
)
def test_columns_left_out_for_their_notation_warn(make: Preparer, values: list[str], hint: str) -> None:
    done = make(column(values))
    assert [item.name for item in done.spec.columns] == ["size"]
    warning = done.warning("unread_notation")
    assert hint in str(warning.remedy)


@pytest.mark.parametrize(
    "values",
    [["1/2", "1/3", "2/3"], ["1:30 PM", "2:30 AM", "3:30 PM"], ["2020-01", "2020-02", "2020-03"], ["5h 3m", "2h 1m"]],
)
def test_categories_that_look_like_numbers_are_named(make: Preparer, values: list[str]) -> None:
    done = make(column([values[i % len(values)] for i in ROWS]))
    assert len(done.spec.columns[0].categories) == len(values)
    assert done.says("column v became a category, but its values look like")


@pytest.mark.parametrize("values", [[f"{i:05x}z" for i in ROWS], [f"{i + 100}B{i}" for i in ROWS], ["12A", "3B"] * 40])
def test_codes_are_no_measures(make: Preparer, values: list[str]) -> None:
    done = make(column(values))
    assert not [item for item in done.report.warnings if item.code == "unread_notation"]
    assert not done.says("look like")


@pytest.mark.parametrize("zone", [" UTC", " GMT", " +0000", "Z", "+00:00"])
def test_times_of_databases_are_dates(make: Preparer, zone: str) -> None:
    texts = [f"{day} 10:15:00{zone}" for day in DAYS]
    done = make(column(texts))
    assert done.spec.columns[0].type == "date"
    days = [datetime.combine(day, datetime.min.time(), UTC).timestamp() / 86_400 for day in DAYS]
    assert np.allclose(done.array("inputs")[:, 0], np.array(days) + 10.25 / 24, atol=1e-9)
    rows = fitted(done).decode([{"v": text, "size": 1.5} for text in texts], Doubts())
    assert np.array_equal(rows[done.array("rows"), 0], done.array("inputs")[:, 0])


def test_numbers_that_are_days_warn(make: Preparer) -> None:
    numbers = [int(f"{day:%Y%m%d}") for day in DAYS]
    warning = make(column(numbers)).warning("unread_notation")
    assert "20200101" in warning.message
    assert not make(column(numbers), types={"v": "number"}).report.warnings
    assert not make(column([20_000_000 + 7919 * i % 999_983 for i in ROWS])).report.warnings


def test_large_whole_numbers_of_arrays_warn(make: Preparer) -> None:
    x = 2**60 + 7 * np.arange(160).reshape(80, 2)
    assert make(npz(x=x, y=np.arange(80) % 2)).warning("digits_lost").count == 160
    assert make(npz(x=x[:, :, None], y=np.arange(80) % 2), modality="series").warning("digits_lost").count == 160
    assert not make(npz(x=x - 2**60, y=np.arange(80) % 2)).report.warnings


def test_a_target_of_dates_says_so(refused: Refuser) -> None:
    error = refused(Code.BAD_TARGET, column(list(map(str, DAYS))), columns={"v": "target"})
    assert "holds dates" in error.message


@pytest.mark.parametrize("delimiter", ["^", "~", "\x01", "\u00a6"])
def test_rare_delimiters_are_found(make: Preparer, delimiter: str) -> None:
    done = make(column([i % 7 for i in ROWS], delimiter))
    assert [item.name for item in done.spec.columns] == ["v", "size"]


def test_the_line_below_the_names_of_a_markdown_table_is_no_row(make: Preparer) -> None:
    rows = "".join(f"| {i % 7} | {1.5 * i} | {'ab'[i % 2]} |\n" for i in ROWS)
    done = make(f"| v | size | label |\n|---|:--:|---|\n{rows}")
    assert done.report.rows.kept == len(ROWS)
    assert done.spec.targets[0].classes == ("a", "b")
    assert done.says("line of dashes")


def test_rare_words_among_numbers_are_refused_with_the_option_that_makes_them_missing(
    make: Preparer, refused: Refuser
) -> None:
    file = column(["n.v." if i % 10 == 0 else i for i in ROWS])
    assert 'missing_values=["n.v."]' in refused(Code.MIXED_TYPES, file).message
    assert make(file, missing_values=["n.v."]).says("8 values are missing")
    units = column(["m/s", *range(79)])
    assert "line of units" in refused(Code.MIXED_TYPES, units).message
