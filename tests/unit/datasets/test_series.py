"""Series: from arrays, from wide and long tables; of unequal length, with one channel or many."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits

from .conftest import Outcome, Preparer, Refuser, npy, npz

X = np.random.default_rng(0).normal(size=(30, 6, 2))
Y = np.arange(30) % 3
NAN = np.nan


def equal(done: Outcome, expected: Any) -> None:
    np.testing.assert_array_equal(done.array("inputs"), np.asarray(expected, np.float64))


def test_arrays_are_series_only_where_asked_for(make: Preparer) -> None:
    flat = X[:, :, 0]
    assert make(npy(flat)).spec.modality == "table"
    assert make(npy((X * 0 + 7).astype(np.uint8)), duplicates="keep").spec.modality == "image"
    done = make(npy(flat), modality="series")
    assert done.spec.modality == "series"
    assert done.spec.shape == (6, 1)
    equal(done, flat[:, :, None])
    done = make(npz(x=X, y=Y), modality="series")
    assert done.spec.shape == (6, 2)
    assert [(column.name, column.type) for column in done.spec.columns] == [("x0", "number"), ("x1", "number")]
    assert done.spec.targets[0].classes == ("0", "1", "2")
    equal(done, X)


def test_lengths_cut_series_and_empty_ones_go(make: Preparer) -> None:
    lengths = np.arange(30) % 7
    done = make(npz(x=X, y=Y, lengths=lengths), modality="series")
    empty = [i for i in range(30) if lengths[i] == 0]
    kept = [i for i in range(30) if lengths[i]]
    assert [removal.row for removal in done.report.removals] == empty
    assert done.array("rows").tolist() == kept
    expected = X.copy()
    expected[np.arange(6) >= lengths[:, None]] = NAN
    equal(done, expected[kept])
    np.testing.assert_array_equal(done.array("targets")[:, 0], Y[kept])
    profile = done.report.series
    assert profile is not None
    assert (profile.shortest, profile.longest) == (1, 6)
    assert profile.mean == pytest.approx(lengths[kept].mean())
    assert profile.channels[0].count == lengths.sum()
    assert profile.channels[0].mean == pytest.approx(np.nanmean(expected[kept][:, :, 0]), rel=1e-5)
    assert profile.channels[1].std == pytest.approx(np.nanstd(expected[kept][:, :, 1]), rel=1e-5)


def test_missing_steps_stay_missing(make: Preparer) -> None:
    x = X.copy()
    x[3, 2, 0] = x[4, 5] = NAN
    done = make(npz(x=x), modality="series")
    equal(done, x)
    assert done.report.series is not None
    assert done.report.series.channels[0].missing == 1  # the last step of row 4 only makes it shorter
    assert done.report.series.shortest == 5


@pytest.mark.parametrize(
    ("code", "arrays"),
    [
        (Code.BAD_ARRAY, {"x": X[0, 0]}),
        (Code.BAD_ARRAY, {"x": X[..., None]}),
        (Code.BAD_ARRAY, {"x": X, "lengths": np.full(30, 7)}),
        (Code.BAD_ARRAY, {"x": X, "lengths": np.full(30, -1)}),
        (Code.BAD_ARRAY, {"x": X, "lengths": np.full(30, 2.0)}),
        (Code.BAD_ARRAY, {"x": X, "lengths": np.full(29, 2)}),
        (Code.EMPTY_DATASET, {"x": X, "lengths": np.zeros(30, int)}),
        (Code.EMPTY_DATASET, {"x": X * NAN}),
        (Code.EMPTY_COLUMN, {"x": X * np.array([1, NAN])}),
        (Code.BAD_NUMBER, {"x": np.where(X[5, 2, 1] == X, np.inf, X)}),
    ],
)
def test_bad_arrays_are_refused(refused: Refuser, code: Code, arrays: dict[str, Any]) -> None:
    error = refused(code, npz(**arrays), modality="series")
    if code is Code.BAD_NUMBER:
        assert error.errors[0].row == 5


def test_bounds(refused: Refuser) -> None:
    refused(Code.TOO_LARGE, npz(x=X), Limits(series_values=11), modality="series")
    refused(Code.TOO_LARGE, npz(x=X), Limits(canonical_bytes=1000), modality="series")
    refused(Code.TOO_LARGE, npz(x=X), Limits(rows=29), modality="series")
    refused(Code.TOO_LARGE, npz(x=X), Limits(columns=1), modality="series")
    refused(Code.TOO_LARGE, "[1, 2, 3]\n[1]\n", Limits(series_values=2))
    refused(Code.TOO_LARGE, "[1, 2, 3]\n[1]\n", Limits(canonical_bytes=20))
    refused(Code.TOO_LARGE, LONG, Limits(series_values=11), series={"id": "id"})
    refused(Code.BAD_ARRAY, npz(x=X, lengths=np.full(30, 2)))


def test_infinite_steps_may_be_imputed(make: Preparer) -> None:
    done = make(npz(x=np.where(X[5, 2, 1] == X, np.inf, X)), modality="series", missing="impute")
    assert np.isnan(done.array("inputs")[5, 2, 1])


WIDE = "t0,t1,label,t2\n" + "".join(f"{i},{i + 1 if i % 3 else ''},{'ab'[i % 2]},{i * i}\n" for i in range(20))


def test_wide_tables(make: Preparer) -> None:
    done = make(WIDE, modality="series")
    assert done.spec.shape == (3, 1)
    assert [column.name for column in done.spec.columns] == ["value"]
    assert done.decision("series") == "3 steps"
    equal(done, [[[i], [i + 1 if i % 3 else NAN], [i * i]] for i in range(20)])
    assert done.spec.targets[0].classes == ("a", "b")


def test_wide_tables_leave_text_out_and_drop_empty_rows(make: Preparer, refused: Refuser) -> None:
    text = "name,t0,t1\n" + "".join(f"n{i},{i if i % 4 else ''},{i if i % 4 else ''}\n" for i in range(20))
    done = make(text, modality="series")
    assert done.says("column name is left out")
    assert done.report.rows.removed["corrupt"] == 5
    assert done.array("rows").tolist() == [i for i in range(20) if i % 4]
    equal(done, [[[i], [i]] for i in range(20) if i % 4])
    refused(Code.NO_INPUTS, "name\na\nb\n", modality="series")
    refused(Code.EMPTY_DATASET, "a,b,label\n,,x\n,,y\n", modality="series")
    refused(Code.MIXED_TYPES, text.replace("\nn1,1,1", "\nn1,one,1"), modality="series")


def rows_of(ids: int = 12) -> list[tuple[str, int, float, float, str]]:
    """Rows of series of 1 to 6 steps: id, time, two channels, label."""
    return [(f"s{i}", step, i + step / 10, i * step, "ab"[i % 2]) for i in range(ids) for step in range(1 + i % 6)]


def long_csv(rows: list[Any]) -> str:
    return "id,time,u,v,label\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


LONG = long_csv(rows_of())


def test_long_tables(make: Preparer) -> None:
    done = make(LONG, series={"id": "id", "time": "time"})
    assert done.spec.modality == "series"
    assert done.spec.shape == (6, 2)
    assert [column.name for column in done.spec.columns] == ["u", "v"]
    assert done.report.rows.read == 12
    expected = np.full((12, 6, 2), NAN)
    for i in range(12):
        for step in range(1 + i % 6):
            expected[i, step] = i + step / 10, i * step
    equal(done, expected)
    assert done.array("targets")[:, 0].tolist() == [0, 1] * 6
    assert done.array("rows").tolist() == np.cumsum([0, *(1 + i % 6 for i in range(11))]).tolist()


def test_time_orders_the_steps_wherever_the_rows_stand(make: Preparer) -> None:
    rows = rows_of()
    order = np.random.default_rng(3).permutation(len(rows))
    order = order[np.argsort([int(rows[i][0][1:]) for i in order], kind="stable")]  # series in order, steps not
    ordered, mixed = make(LONG, series={"id": "id", "time": "time"}), long_csv([rows[i] for i in order])
    equal(make(mixed, series={"id": "id", "time": "time"}), ordered.array("inputs"))
    with pytest.raises(AssertionError):
        equal(make(mixed, series={"id": "id"}, columns={"time": "ignored"}), ordered.array("inputs"))


def test_dates_order_the_steps_too(make: Preparer) -> None:
    rows = [(i, f"2024-03-{9 - step:02d}T10:00", step, step, "ab"[i % 2]) for i in range(9) for step in range(3)]
    done = make(long_csv(rows), series={"id": "id", "time": "time"}, columns={"v": "ignored"}, duplicates="keep")
    equal(done, [[[2], [1], [0]]] * 9)


def test_parquet_in_long_form(make: Preparer) -> None:
    columns = list(zip(*rows_of(), strict=True))
    table = pa.table({name: list(values) for name, values in zip("itxyl", columns, strict=True)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    done = make(sink.getvalue(), series={"id": "i", "time": "t"}, columns={"l": "target"})
    equal(done, make(LONG, series={"id": "id", "time": "time"}).array("inputs"))


@pytest.mark.parametrize(
    ("code", "rows", "options", "words"),
    [
        (Code.UNKNOWN_COLUMN, rows_of(), {"series": {"id": "who"}}, "series.id names the column 'who'"),
        (Code.UNKNOWN_COLUMN, rows_of(), {"series": {"id": "id", "time": "when"}}, "series.time"),
        (Code.BAD_OPTION, rows_of(), {"series": {"id": "id", "time": "id"}}, "the same column"),
        (Code.BAD_SERIES, [*rows_of(), ("s3", 9, 1, 1, "a")], {}, "changes within a series (row 42)"),
        (Code.BAD_SERIES, [*rows_of(), ("", 9, 1, 1, "a")], {}, "which series a row belongs to"),
        (Code.BAD_TIME, [*rows_of(), ("s3", "", 1, 1, "b")], {}, "gives none in 1"),
        (Code.BAD_TIME, [(*row[:1], f"at {row[1]}", *row[2:]) for row in rows_of()], {}, "neither numbers nor"),
        (Code.MIXED_TYPES, [*rows_of(), ("s3", 9, "x", 1, "b")], {}, "rows hold text"),
        (Code.WRONG_MODALITY, rows_of(), {"modality": "table"}, "series"),
    ],
)
def test_bad_long_tables_are_refused(
    refused: Refuser, code: Code, rows: list[Any], options: dict[str, Any], words: str
) -> None:
    assert words in refused(code, long_csv(rows), **{"series": {"id": "id", "time": "time"}, **options}).message


def test_series_of_no_values_and_equal_times_are_told_of(make: Preparer) -> None:
    rows = [*rows_of(), ("s12", 0, "", "", "a"), ("s12", 1, "", "", "a"), ("s2", 2, 5, 5, "a")]
    done = make(long_csv(rows), series={"id": "id", "time": "time"})
    assert done.report.rows.removed["corrupt"] == 1
    assert done.says("1 rows have the time of another row")
    assert done.array("inputs")[2, :4, 0].tolist() == pytest.approx([2, 2.1, 2.2, 5])


def test_series_belong_to_tables(refused: Refuser) -> None:
    refused(Code.BAD_OPTION, npz(x=X), modality="series", series={"id": "x0"})
    refused(Code.BAD_ROLES, npz(x=X, y=Y), modality="series", columns={"label": "input"})


def test_repeated_series_are_one_where_that_is_asked_for(make: Preparer) -> None:
    repeated = npz(x=np.concatenate([X, X[:5]]), y=np.concatenate([Y, Y[:5]]))
    done = make(repeated, modality="series", duplicates="remove")
    assert done.report.rows.removed["duplicate"] == 5


def test_lines_that_are_lists_are_series_by_a_decision(make: Preparer) -> None:
    content = b"".join(b"[%d, %d, %d]\n" % (row, row + 1, row * 2) for row in range(30))
    done = make(content)
    assert done.spec.modality == "series"
    assert done.decision("modality") == "series"
    asked = make(content, modality="series")
    assert "modality" not in [decision.field for decision in asked.report.decisions]
