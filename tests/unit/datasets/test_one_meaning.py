"""Values that are written differently and mean one thing, and values that look alike and do not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.datasets.canonical.rows import preview
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.columns import CategoryColumn
from tests.unit.datasets.conftest import Outcome, Preparer

VERSIONS = ("1.9", "1.10", "1.1", "2.0", "2.10", "2.1", "3.0")


def table(name: str, values: Sequence[object], rows: int = 60) -> str:
    """Return a CSV of a column of these values, repeated, a number and a label."""
    lines = (f"{values[i % len(values)]},{1.5 * i},{'ab'[i % 13 % 2]}\n" for i in range(rows))
    return f"{name},size,label\n" + "".join(lines)


def first_column(done: Outcome) -> list[object]:
    name = done.spec.columns[0].name
    return [row["input"][name] for row in preview(Path(done.folder), done.spec, 0, 100)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("version", VERSIONS),
        ("Release", ("1.9", "1.10", "1.11", "2.0")),
        ("section", ("3.2", "3.20", "4", "4.1")),
        ("build", (*VERSIONS, "1.10.2")),
        ("build", (*VERSIONS * 4, "1.10.2")),
    ],
)
def test_versions_are_categories(make: Preparer, name: str, values: tuple[str, ...]) -> None:
    done = make(table(name, values))
    assert sorted(done.spec.columns[0].categories) == sorted(set(values))
    assert done.decision(f"types.{name}") == "category"
    assert not [item for item in done.report.warnings if item.code != "rare_class"]


def test_numbers_that_may_be_versions_warn(make: Preparer) -> None:
    done = make(table("x", VERSIONS))
    assert done.spec.columns[0].type == "number"
    warning = done.warning("ambiguous_numbers")
    assert "1.1 and 1.10" in warning.message
    assert warning.remedy is not None
    assert 'types={"x": "category"}' in warning.remedy
    assert make(table("x", VERSIONS), types={"x": "category"}).spec.columns[0].categories[:2] == ("1.1", "1.10")
    assert not make(table("x", VERSIONS), types={"x": "number"}).report.warnings


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("price", ("1.10", "1.20", "2.35", "1.00")),
        ("price", ("1.5", "1.50", "2.05", "12")),
        ("share", ("0.5", "0.50", "0.75", "1.0")),
        ("version", ("1.1", "1.2", "2.0", "10.4")),
        ("x", ("1.1", "1.25", "2.0", "-3.75")),
    ],
)
def test_measurements_stay_numbers_without_a_word(make: Preparer, name: str, values: tuple[str, ...]) -> None:
    done = make(table(name, values))
    assert first_column(done)[: len(values)] == list(map(float, values))
    assert not done.report.warnings
    assert not [item for item in done.report.decisions if item.field.endswith(name)]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (("0", "1", "true", "False", "yes"), ("false", "true")),
        (("0",) * 20 + ("1",) * 20 + ("true", "false"), ("0", "1")),
        (("TRUE", "true", "False", "FALSE"), ("false", "true")),
        (("yes", "no", "yes", "1", "0"), ("no", "yes")),
        (("Y", "N", "yes", "No"), ("no", "yes")),
    ],
)
def test_true_and_false_in_many_spellings_are_two_categories(
    make: Preparer, values: tuple[str, ...], names: tuple[str, str]
) -> None:
    done = make(table("ok", values, 200))
    (column, _) = done.spec.columns
    assert column.categories == names
    truths = {"0": 0, "false": 0, "no": 0, "n": 0, "1": 1, "true": 1, "yes": 1, "y": 1}
    assert first_column(done) == [names[truths[values[i % len(values)].lower()]] for i in range(100)]
    assert "mean true and false" in next(item.reason for item in done.report.decisions if item.field == "types.ok")
    fitted = CategoryColumn(name="ok", categories=column.categories)
    doubts = Doubts()
    assert [fitted.decode(value, doubts) for value in values] == [truths[value.lower()] for value in values]
    assert [fitted.decode(value, doubts) for value in (True, 1, 1.0, "TRUE", False, 0)] == [1, 1, 1, 1, 0, 0]
    assert not doubts.warnings()


def test_declared_categories_of_one_meaning_stay_apart_with_a_warning(make: Preparer) -> None:
    done = make(table("ok", ("yes", "no", "true", "false")), types={"ok": "category"})
    assert len(done.spec.columns[0].categories) == 4
    assert done.warning("similar_classes").count == 4


@pytest.mark.parametrize("values", [("t", "f", "n", "y"), ("yes", "no", "maybe"), ("0", "1", "2", "yes")])
def test_other_categories_are_no_truths(make: Preparer, values: tuple[str, ...]) -> None:
    assert len(make(table("ok", values)).spec.columns[0].categories) == len(values)


def test_labels_of_two_files_of_the_census_are_two_classes(make: Preparer) -> None:
    labels = ("<=50K.", ">50K.", "<=50K", ">50K")
    work = ("Private", "State-gov")
    rows = "".join(f"{20 + i % 50}, {work[i % 3 == 0]}, {1000 - 7 * i}, {labels[i % 4]}\n" for i in range(80))
    done = make(rows, columns={"x3": "target"})
    assert done.spec.targets[0].classes == ("<=50K", ">50K")
    assert done.says("'<=50K' = '<=50K.'")


@pytest.mark.parametrize("comment", ["|1x3 Cross validator", "% made by hand", "// exported"])
@pytest.mark.parametrize("header", ["auto", "none"])
def test_a_comment_above_a_table_without_names_is_no_row(make: Preparer, comment: str, header: str) -> None:
    rows = "".join(f"{20 + i % 50}, {('Private', 'State-gov')[i % 3 == 0]}, {1000 - 7 * i}\n" for i in range(80))
    done = make(f"{comment}\n{rows}", header=header)
    assert done.report.rows.kept == 80
    assert [column.name for column in done.spec.columns] == ["x0", "x1", "x2"]
    assert done.says(comment)


def test_times_in_far_years_are_exact_to_a_tenth_of_a_millisecond_or_warn(make: Preparer) -> None:
    whole = [f"{year}-0{1 + i}-1{i}T13:47:0{i}.{i}00" for i, year in enumerate((1492, 1066, 2500, 9998))]
    done = make(table("when", whole))
    assert [str(value)[:21] for value in first_column(done)[:4]] == [text[:21].removesuffix(".0") for text in whole]
    assert not done.report.warnings
    done = make(table("when", [*whole, "1492-01-01T00:00:00.123456", "1992-01-01T00:00:00.123456"]))
    warning = done.warning("digits_lost")
    assert warning.count == 10
    assert warning.rows[0] == 4
