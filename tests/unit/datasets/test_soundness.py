"""What a preparation warns of once it is done: rows that were lost, few rows, and classes with nearly all or none."""

from app.ml.spec import WarningCode

from .conftest import Preparer


def table(labels: list[str]) -> str:
    return "x,label\n" + "".join(f"{row / 3:.2f},{label}\n" for row, label in enumerate(labels))


def test_a_sound_table_has_no_warning(make: Preparer) -> None:
    assert make(table(["no", "yes"] * 20)).report.warnings == ()


def test_more_than_a_fifth_of_the_rows_lost(make: Preparer) -> None:
    done = make(table(["no", "yes"] * 39 + [""] * 21), unlabelled="remove")
    warning = done.warning(WarningCode.ROWS_LOST)
    assert warning.count == 21
    assert "21 of 99 rows were removed: missing_target 21" in warning.message
    assert warning.remedy is not None
    kept = make(table(["no", "yes"] * 40 + [""] * 19), unlabelled="remove")
    assert WarningCode.ROWS_LOST not in [item.code for item in kept.report.warnings]


def test_fewer_than_twenty_rows(make: Preparer) -> None:
    assert make(table(["no", "yes"] * 9)).warning(WarningCode.FEW_ROWS).count == 18


def test_a_class_with_over_nine_tenths_of_the_rows(make: Preparer) -> None:
    warning = make(table(["no"] * 91 + ["yes"] * 9)).warning(WarningCode.IMBALANCED)
    assert (warning.count, "91 of 100 rows are 'no'" in warning.message) == (91, True)
    assert make(table(["no"] * 90 + ["yes"] * 10)).report.warnings == ()


def test_classes_with_fewer_than_three_rows(make: Preparer) -> None:
    warning = make(table(["no", "yes"] * 20 + ["maybe", "never", "never"])).warning(WarningCode.RARE_CLASS)
    assert (warning.count, "maybe, never" in warning.message) == (2, True)
