"""Dates: ISO 8601 in text, dates of Parquet, and what merely looks like one."""

import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.canonical.rows import preview
from app.datasets.errors import Code
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser

DAYS = [dt.date(2020, 2, 27) + dt.timedelta(days=3 * i) for i in range(30)]
NUMBERS = [(day - dt.date(1970, 1, 1)).days for day in DAYS]


def table(values: list[str]) -> str:
    return "n,when,label\n" + "".join(f"{i % 9},{value},{'ab'[i % 2]}\n" for i, value in enumerate(values))


def test_a_column_of_iso_dates_is_one_of_days(make: Preparer) -> None:
    done = make(table([day.isoformat() for day in DAYS]))
    assert done.spec.columns[1].type == "date"
    assert done.decision("types.when") == "date"
    assert done.array("inputs")[:, 1].tolist() == NUMBERS
    profile = done.report.columns[1]
    assert (profile.type, profile.earliest, profile.latest) == ("date", "2020-02-27", "2020-05-24")
    assert preview(done.folder, done.spec, 1, 1)[0]["input"] == {"n": 1, "when": "2020-03-01"}


def test_parts_in_which_train_rows_differ_are_a_decision(make: Preparer) -> None:
    """The rows before June train: Mondays at noon. Those from June on are of all days and hours."""
    before = [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(days=7 * i) for i in range(20)]
    after = [dt.datetime(2024, 6, 1, tzinfo=dt.UTC) + dt.timedelta(hours=31 * i) for i in range(20)]
    rows = [
        f"{when.isoformat()},{'ab'[i % 2]},{'train' if when < after[0] else 'test'}"
        for i, when in enumerate(before + after)
    ]
    done = make("when,label,fold\n" + "\n".join(rows), columns={"fold": "split"})
    assert done.spec.columns[0].parts == ("month", "day_of_month")
    assert done.decision("parts.when") == "month, day of month"
    (told,) = [decision for decision in done.report.decisions if decision.field == "parts.when"]
    assert "do not differ in weekday, hour" in told.reason
    assert '"dates": "time"' in str(told.option)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("0001-01-01", -719_162),
        ("9999-12-31", 2_932_896),
        ("1970-01-03T12:00", 2.5),
        ("1970-01-03 06:00:00", 2.25),
        ("1970-01-03T12:00:00Z", 2.5),
        ("1970-01-03T12:00+06:00", 2.25),
        ("1970-01-03T12:00-0600", 2.75),
        ("1970-01-03T21:36:00.000000001", 2.9),
        (" 1970-01-02 ", 1),
    ],
)
def test_iso_forms(make: Preparer, text: str, day: float) -> None:
    done = make(table([text, *(d.isoformat() for d in DAYS)]))
    assert done.spec.columns[1].type == "date"
    assert done.array("inputs")[0, 1] == day


def test_missing_dates_are_missing(make: Preparer) -> None:
    done = make(table(["", " ", *(day.isoformat() for day in DAYS)]))
    assert np.isnan(done.array("inputs")[:2, 1]).all()
    assert done.report.columns[1].missing == 2
    assert preview(done.folder, done.spec, 0, 1)[0]["input"]["when"] is None


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%y", "%d.%m.%Y", "%Y/%m/%d", "%d %B %Y"])
def test_ambiguous_dates_stay_text_with_a_hint(make: Preparer, form: str) -> None:
    done = make(table([DAYS[i % 5].strftime(form) for i in range(30)]))
    assert done.spec.columns[1].type == "category"
    assert done.says("its values look like dates: write dates as 2024-02-29")


@pytest.mark.parametrize("odd", ["2020-02-30", "2020-13-01", "2020-01-01T25:00", "someday", "2020-1-1"])
def test_a_column_parses_wholly_or_stays_text(make: Preparer, refused: Refuser, odd: str) -> None:
    values = [*(day.isoformat() for day in DAYS), odd]
    done = make(table(values))
    assert [column.name for column in done.spec.columns] == ["n"]
    assert done.warning(WarningCode.UNREAD_NOTATION).rows == (30,)
    error = refused(Code.BAD_DATE, table(values), types={"when": "date"})
    assert error.errors[0].row == 30
    assert odd in error.errors[0].msg


def test_types_may_say_otherwise(make: Preparer, refused: Refuser) -> None:
    text = table([DAYS[i % 5].isoformat() for i in range(30)])
    assert make(text, types={"when": "category"}).spec.columns[1].categories[0] == "2020-02-27"
    done = make(table([str(number) for number in NUMBERS]), types={"when": "date"})
    assert done.spec.columns[1].type == "date"
    assert done.array("inputs")[:, 1].tolist() == NUMBERS
    seconds = table([str(86_400 * number) for number in NUMBERS])
    assert "days since 1970-01-01" in refused(Code.BAD_DATE, seconds, types={"when": "date"}).errors[0].msg
    assert make(seconds).spec.columns[1].type == "number"


def parquet(values: list[Any], kind: Any = None) -> bytes:
    sink = io.BytesIO()
    labels = ["ab"[i % 2] for i in range(len(values))]
    when = pa.array(values) if kind is None else pa.array(values).cast(kind)
    pq.write_table(pa.table({"n": range(len(values)), "when": when, "label": labels}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "kind",
    [pa.date32(), pa.date64(), *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")), pa.timestamp("us", "UTC")],
)
def test_dates_of_parquet(make: Preparer, kind: Any) -> None:
    done = make(parquet([None, *DAYS[1:]], kind))
    assert done.spec.columns[1].type == "date"
    np.testing.assert_array_equal(done.array("inputs")[:, 1], [np.nan, *NUMBERS[1:]])


def test_times_of_parquet(make: Preparer) -> None:
    start = dt.datetime(2000, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=6)))
    done = make(parquet([start + dt.timedelta(hours=12 * i) for i in range(30)]))
    assert done.array("inputs")[:3, 1].tolist() == [10956.75, 10957.25, 10957.75]


def test_dates_of_json_lines(make: Preparer) -> None:
    rows = [{"n": i % 9, "when": day.isoformat(), "label": "ab"[i % 2]} for i, day in enumerate(DAYS)]
    assert make("\n".join(map(json.dumps, rows))).array("inputs")[:, 1].tolist() == NUMBERS


def test_dates_cannot_be_targets_but_may_group(make: Preparer, refused: Refuser) -> None:
    text = table([DAYS[i // 3].isoformat() for i in range(30)])
    message = refused(Code.BAD_TARGET, text, columns={"when": "target"}, types={"when": "date"}).message
    assert "dates, which no head answers" in message
    refused(Code.BAD_TARGET, parquet(list(DAYS)), columns={"when": "target"})
    split = make(text, columns={"when": "group"}, duplicates="keep").array("split")
    assert all(len(set(split[i : i + 3])) == 1 for i in range(0, 30, 3))
    assert make(parquet([DAYS[i // 3] for i in range(30)]), columns={"when": "group"}).array("split").any()


def test_zoned_and_plain_times_together_are_noted(make: Preparer) -> None:
    values = [f"2020-01-{1 + i % 28:02d}T10:00{'Z' if i % 2 else ''}" for i in range(30)]
    assert make(table(values)).says("times without a zone were taken as UTC")
