"""Tables are read and encoded a block at a time; each block is held to the definition of one cell and one column."""

import calendar
import datetime as dt
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ml.data.date_parts import PARTS
from app.ml.data.dates import to_iso
from app.ml.errors import InputError
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.column_kinds import AnyColumn
from app.ml.kinds.modalities.columns import CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.decoding import decode_each
from app.ml.kinds.modalities.ranges import Range
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.modalities.table_rows import RowReader
from app.ml.spec import ColumnSpec, DataSpec

NAMES = ("no", "yes", "3", "-9", "true")


def columns() -> st.SearchStrategy[tuple[AnyColumn, ...]]:
    flags = st.booleans()
    numbers = st.builds(
        NumberColumn,
        name=st.just("n"),
        mean=st.floats(-5, 5),
        std=st.floats(0.1, 5),
        had_missing=flags,
        nullable=flags,
        binary=flags,
        range=st.sampled_from([None, Range(low=-10, high=10), Range(low=0, high=0)]),
        decimal=st.sampled_from([None, "comma"]),
    )
    categories = st.builds(
        CategoryColumn,
        name=st.just("c"),
        categories=st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple),
        had_missing=flags,
        nullable=flags,
    ).flatmap(
        lambda column: st.sets(st.integers(0, max(0, len(column.categories) - 1)), max_size=1).map(
            lambda unseen: column.model_copy(update={"unseen": tuple(unseen) if column.categories else ()})
        )
    )
    dates = st.builds(
        DateColumn,
        name=st.just("d"),
        mean=st.floats(0, 20_000),
        std=st.floats(1, 900),
        had_missing=flags,
        nullable=flags,
        timed=flags,
        parts=st.none() | st.sets(st.sampled_from(PARTS)).map(tuple),
        range=st.sampled_from([None, Range(low=0, high=9000)]),
    )
    named = st.lists(st.one_of(numbers, categories, dates), min_size=1, max_size=4)
    return named.map(
        lambda chosen: tuple(column.model_copy(update={"name": f"{column.name}{i}"}) for i, column in enumerate(chosen))
    )


def sound_cell(column: AnyColumn) -> st.SearchStrategy[Any]:
    if isinstance(column, NumberColumn):
        return st.one_of(st.integers(-10, 10), st.floats(-10, 10))
    if isinstance(column, CategoryColumn):
        return st.sampled_from(column.categories or ("other",))
    return st.integers(0, 9000).map(to_iso)


ODD = [None, math.nan, math.inf, 1e39, True, False, 0, 1, 3, -9, 99, 12.5, 10**400, [1], {}]
ODD += [*NAMES, "4,5", "-9.0", " yes ", "YES", "1999-01-01", "2001-01-01", "1850-01-01T12:00", "NA", "none", "", " "]


@st.composite
def tables(draw: st.DrawFn) -> tuple[TableModality, list[Any]]:
    chosen = draw(columns())
    missing_values = draw(st.sampled_from([(), ("-9",), ("none", "3")]))
    modality = TableModality(columns=chosen, left_out=("id",), missing_values=missing_values)

    def row() -> Any:
        odd = draw(st.booleans())
        cells = [draw(sound_cell(column)) for column in chosen]
        if odd:
            cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(ODD))
        keyed = dict(zip([column.name for column in chosen], cells, strict=True))
        forms = [cells, cells, keyed, keyed, dict(reversed(keyed.items())), {**keyed, "id": 1}]
        if odd:
            forms += [{**keyed, "else": 2}, dict(list(keyed.items())[:-1]), cells[:-1], tuple(cells)]
        if all(isinstance(cell, float) for cell in cells):
            forms.append(np.array(cells))
        return draw(st.sampled_from(forms))

    return modality, [row() for _ in range(draw(st.integers(1, 5)))]


Outcome = tuple[list[Any], Any, Any]


def outcome(decode: Callable[[Doubts], Any]) -> Outcome:
    """The rows, or the errors of what cannot be read; and the doubts where there are rows."""
    doubts = Doubts()
    try:
        rows = decode(doubts)
    except InputError as error:
        return [error.errors], None, None
    return np.array(rows, dtype=np.float64).tolist(), doubts.warnings(), doubts.errors()


def cell_by_cell(modality: TableModality, inputs: Sequence[Any]) -> Outcome:
    """The definition: each row alone, in order."""

    def decode(doubts: Doubts) -> list[list[float]]:
        reader = RowReader(modality.columns, modality.left_out, modality.missing_values, doubts)
        return decode_each(inputs, reader.read, doubts)

    return outcome(decode)


NEAR = Range(low=-10, high=10)
COLUMNS: list[AnyColumn] = [
    NumberColumn(name="a"),
    NumberColumn(name="a", nullable=True, range=NEAR),
    NumberColumn(name="a", had_missing=True, binary=True, decimal="comma", range=NEAR),
    CategoryColumn(name="a", categories=NAMES),
    CategoryColumn(name="a", categories=NAMES, had_missing=True, unseen=(1, 3)),
    DateColumn(name="a", range=Range(low=10_000, high=11_000)),
    DateColumn(name="a", nullable=True, timed=True),
]


@pytest.mark.parametrize("missing_values", [(), ("-9",), ("none", "3", "2001-01-01")])
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.type)
def test_every_odd_cell_is_read_as_it_is_alone(column: AnyColumn, missing_values: tuple[str, ...]) -> None:
    modality = TableModality(columns=(column,), missing_values=missing_values)
    for cell in ODD:
        for inputs in ([[cell]], [{"a": cell}]):
            assert repr(outcome(partial(modality.decode, inputs))) == repr(cell_by_cell(modality, inputs)), repr(cell)


@given(tables())
def test_rows_are_read_as_each_cell_is(case: tuple[TableModality, list[Any]]) -> None:
    modality, inputs = case
    block = outcome(partial(modality.decode, inputs))
    assert repr(block) == repr(cell_by_cell(modality, inputs))  # NaN is equal to itself in words


@given(tables(), st.sampled_from(["<f8", ">f8", "<f4", "<i2"]), st.integers(0, 99))
def test_an_array_is_read_as_its_rows_are(case: tuple[TableModality, list[Any]], dtype: str, seed: int) -> None:
    modality, _ = case
    random = np.random.default_rng(seed)
    values = random.uniform(-20, 20, (4, len(modality.columns)))
    values[random.random(values.shape) < 0.1] = np.nan if "f" in dtype else 3
    array = values.astype(dtype)
    assert repr(outcome(partial(modality.decode, array))) == repr(cell_by_cell(modality, list(array)))


def test_an_adapted_table_reads_by_its_own_missing_values() -> None:
    modality = TableModality(columns=(NumberColumn(name="a", had_missing=True),))
    assert modality.decode([[-9]]).tolist() == [[-9.0]]
    spec = DataSpec(
        modality="table",
        shape=(1,),
        rows={"train": 1},
        columns=(ColumnSpec(name="a", type="number"),),
        missing_values=("-9",),
    )
    assert np.isnan(modality.adapted_to(np.array([[1.0]]), spec).decode([[-9]])).all()


def place(name: str, days: float) -> float:
    """The definition of `date_parts.py`, by Python's calendar."""
    day = dt.date(1970, 1, 1) + dt.timedelta(days=math.floor(days))
    if name == "day_of_month":
        length = 28 if day.month == 2 else calendar.monthrange(day.year, day.month)[1]
        return (day.day - 1 + days % 1) / length
    return {"month": days % 365.2425 / 365.2425, "week": days % 7 / 7, "weekday": days // 1 % 7 / 7, "hour": days % 1}[
        name
    ]


def one_column(column: AnyColumn, values: Rows) -> Rows:
    """The definition of `columns.py`, value by value: (N,) to (N, width)."""
    rows = []
    for value in values.tolist():
        row = [0.0] * column.width
        missing = math.isnan(value)
        if isinstance(column, CategoryColumn):
            missing = missing or not 0 <= value < len(column.categories) or value in column.unseen
            if not missing:
                row[int(value)] = 1.0
        elif not missing:
            row[0] = min(max((value - column.mean) / column.std, -1e4), 1e4)
            for index, (name, harmonic) in enumerate(getattr(column, "cycles", ())):
                angle = 2 * math.pi * harmonic * place(name, value)
                row[1 + 2 * index : 3 + 2 * index] = [math.sin(angle), math.cos(angle)]
        if column.had_missing:
            row[-1] = float(missing)
        rows.append(row)
    return np.array(rows, dtype=np.float32)


@given(columns(), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_blocks_encode_as_each_column_is_defined(chosen: tuple[AnyColumn, ...], seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    scale = {"number": 1e5, "category": 3, "date": 20_000}
    stored = np.stack([random.uniform(-1, 1, count) * scale[column.type] for column in chosen], axis=1)
    codes = [isinstance(column, CategoryColumn) for column in chosen]
    stored[:, codes] = np.abs(stored[:, codes]).astype(int)
    stored[random.random(stored.shape) < 0.2] = np.nan
    encoded = TableModality(columns=chosen).encode(stored).numpy()
    expected = np.concatenate([one_column(column, stored[:, i]) for i, column in enumerate(chosen)], axis=1)
    np.testing.assert_allclose(encoded, expected, rtol=1e-6, atol=1e-6)


def test_rows_of_earlier_releases_are_float32() -> None:
    modality = TableModality(columns=(NumberColumn(name="a", mean=1, std=2), NumberColumn(name="b", had_missing=True)))
    rows = np.array([[3.0, np.nan]], dtype=np.float32)
    assert modality.encode(rows).tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize("count", [1, 3])
def test_all_of_a_wide_table_is_one_block(count: int) -> None:
    """No column is read or encoded by itself: what Python does for a row does not grow with what is sound in it."""
    names = tuple(NumberColumn(name=f"x{i}", mean=i, std=1 + i, range=Range(low=-1, high=1)) for i in range(784))
    modality = TableModality(columns=names)
    assert len(modality._blocks) == 1
    rows = np.random.default_rng(0).uniform(-1, 1, (count, 784))
    np.testing.assert_array_equal(modality.decode(rows.tolist()), rows)
    np.testing.assert_array_equal(modality.decode(rows), rows)
