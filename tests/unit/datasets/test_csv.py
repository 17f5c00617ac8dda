"""CSV: what is read, what is refused, and where the fault is said to be."""

import numpy as np
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser

ROWS = "a,b,label\n" + "".join(f"{i},{i * 0.5},{'cat' if i % 2 else 'dog'}\n" for i in range(40))


def test_columns_and_target_are_found(make: Preparer) -> None:
    done = make(ROWS)
    assert [(column.name, column.type) for column in done.spec.columns] == [("a", "number"), ("b", "number")]
    assert done.spec.targets[0].classes == ("cat", "dog")
    assert done.decision("columns.label") == "target"
    assert done.report.rows.read == done.report.rows.kept == 40
    np.testing.assert_array_equal(done.array("inputs")[:, 1], np.arange(40) * 0.5)
    assert done.array("targets")[:3, 0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_line_ends_and_bom(make: Preparer, delimiter: str, ending: str) -> None:
    text = "\ufeff" + ROWS.replace(",", delimiter).replace("\n", ending)
    assert make(text).report.rows.read == 40


def test_mixed_line_ends_lose_nothing(make: Preparer) -> None:
    assert make("a,b\n1,2\r\n3,4\r5,6\n7,8").report.rows.read == 4


def test_blank_lines_are_counted(make: Preparer) -> None:
    done = make("a,b\n1,2\n\n3,4\n\n")
    assert done.report.rows.read == 2
    assert done.says("2 blank lines")


def test_ragged_rows_name_their_lines(refused: Refuser) -> None:
    error = refused(Code.RAGGED_ROWS, 'a,b\n1,2\n"x\ny",4\n1,2,3\n7\n')
    assert "line 5 has 3 fields and the header has 2" in error.message
    assert [fault.row for fault in error.errors] == [2, 3]


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (Code.DUPLICATE_COLUMNS, "a,a\n1,2\n"),
        (Code.DUPLICATE_COLUMNS, "caf\u00e9,cafe\u0301\n1,2\n"),
        (Code.BAD_NAME, "a,b\x1b[0m\n1,2\n"),
        (Code.BAD_NAME, f"a,{'b' * 300}\n1,2\n"),
        (Code.EMPTY_DATASET, "a,b\n"),
        (Code.EMPTY_DATASET, ""),
        (Code.EMPTY_DATASET, "\n\n\n"),
        (Code.BAD_CSV, 'a,b\n1,"2\n3,4,5\n'),
        (Code.BAD_CSV, 'a,b\n1,"2"3\n4,5,6\n'),
        (Code.BAD_CSV, "a,b\n1,2\n3,\0\n" + "5,6\n" * 20),
        (Code.ENCODING, "name,b\nM\u00fcller,1\n".encode("latin-1")),
        (Code.ENCODING, "a,b\n1,2\n".encode("utf-16") + b"\0"),
        (Code.TOO_LARGE, ",".join(f"c{i}" for i in range(4097)) + "\n" + ",".join(["1"] * 4097)),
        (Code.NO_INPUTS, "a\n5\n5\n"),
        (Code.NO_INPUTS, "a,label\n,x\n,y\n"),
        (Code.ONE_CLASS, "a,label\n1,x\n2,x\n"),
        (Code.CONSTANT_TARGET, "a,label\n1,1.5\n2,1.5\n"),
        (Code.UNSUPPORTED_FORMAT, '{\n"a": 1}\n'),
        (Code.UNSUPPORTED_FORMAT, b"\x00\x01\x02\x03" * 50),
    ],
)
def test_refused(refused: Refuser, code: Code, content: str | bytes) -> None:
    refused(code, content)


def test_encoding_names_the_line(refused: Refuser) -> None:
    error = refused(Code.ENCODING, b"a,b\n1,2\n3,\xff\n")
    assert "line 3" in error.message


def test_an_open_quote_does_not_swallow_the_file(refused: Refuser) -> None:
    content = 'a,b\n1,"2\n' + "3,4\n" * 400_000
    error = refused(Code.MIXED_TYPES, content)
    assert (error.errors[0].row, error.errors[0].loc) == (0, ("b",))
    assert "a field is longer than" in refused(Code.BAD_CSV, content, multiline="yes").message


def test_a_late_text_in_a_number_column_is_named(refused: Refuser) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(5000))
    error = refused(Code.MIXED_TYPES, f"a,b\n{rows}oops,1\n")
    assert error.errors[0].row == 5000
    assert "'oops'" in error.errors[0].msg


def test_a_declared_category_may_mix(make: Preparer) -> None:
    rows = "".join(f"{i % 10},{i}\n" for i in range(60))
    done = make(f"a,b\n{rows}other,1\n", types={"a": "category"})
    assert done.spec.columns[0].categories == (*map(str, range(10)), "other")


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999", "1e300"])
def test_no_finite_number_is_refused_unless_imputed(make: Preparer, refused: Refuser, text: str) -> None:
    content = f"a,b\n1,2\n{text},3\n4,5\n"
    error = refused(Code.BAD_NUMBER, content)
    assert (error.errors[0].row, error.errors[0].loc) == (1, ("a",))
    done = make(content, missing="impute")
    assert np.isnan(done.array("inputs")[:, 0]).tolist() == [False, True, False]
    assert done.report.columns[0].missing == 1


def test_empty_fields_are_missing(make: Preparer) -> None:
    done = make("a,b,c\n1,x,1\n,y,2\n3,,3\n ,x,4\n")
    inputs = done.array("inputs")
    assert np.isnan(inputs[:, 0]).tolist() == [False, True, False, True]
    assert np.isnan(inputs[:, 1]).tolist() == [False, False, True, False]
    assert [column.missing for column in done.report.columns] == [2, 1, 0]


def test_odd_numbers_are_defined(make: Preparer) -> None:
    done = make("a,b\n1e-400,9223372036854775809\n+.5,1\n-1.,2\n 7 ,3\n")
    np.testing.assert_array_equal(done.array("inputs")[:, 0], np.array([0, 0.5, -1, 7]))
    assert "2^53" in done.warning("digits_lost").message


def test_blanks_around_categories_are_trimmed_and_said(make: Preparer) -> None:
    spelled = ["red", " red", "red ", "blue"]
    done = make("a,c,label\n" + "".join(f"{i},{spelled[i % 4]},{'x ' if i % 3 else 'y'}\n" for i in range(40)))
    assert done.spec.columns[1].categories == ("blue", "red")
    assert done.spec.targets[0].classes == ("x", "y")
    assert done.says("column c: 2 spellings that differ only in blanks were merged")
    assert not done.says("column label")


@pytest.mark.parametrize("name", ["BMI", "PARENT", "[unit]"])
def test_first_letters_alone_do_not_make_another_format(make: Preparer, name: str) -> None:
    done = make(f"{name},b\n" + "".join(f"{i},{i * i}\n" for i in range(9)))
    assert done.spec.columns[0].name == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"BM\x9a\0\0\0\0\0\0\0\x36\0\0\0", "BMP"),
        (b'[{"a": 1}]', "JSON"),
        (b"[\n  [1, 2]]", "JSON"),
    ],
)
def test_other_formats_are_named(refused: Refuser, content: bytes, words: str) -> None:
    assert words in str(refused(Code.UNSUPPORTED_FORMAT, content))


def test_other_notations_of_numbers_get_a_hint(make: Preparer, refused: Refuser) -> None:
    prices = [f"{'$€'[i % 2]}{i}.{i:02d}" for i in range(10, 60)]
    text = "price,b\n" + "".join(f"{price},{i}\n" for i, price in enumerate(prices))
    assert "look like numbers" in make(text).warning(WarningCode.UNREAD_NOTATION).message
    error = refused(Code.TEXT_COLUMN, text, columns={"price": "input"})
    assert "1234.5" in error.message
    assert refused(Code.MIXED_TYPES, text, types={"price": "number"}).errors[0].row == 0


def test_a_category_of_odd_numbers_gets_a_hint(make: Preparer) -> None:
    done = make("price,kind,b\n" + "".join(f"{'$€'[i % 2]}{i % 3}.50,k{i % 3},{i}\n" for i in range(30)))
    assert done.says("column price became a category")
    assert not done.says("column kind")


def test_formulas_are_kept_verbatim(make: Preparer) -> None:
    names = ["=cmd|' /C calc'!A0", "+1+1x", "-2-x", "@SUM(1)", "\tx"]
    done = make("a,b\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names)))
    assert set(done.spec.columns[0].categories) == {name.strip() for name in names}


def test_useless_columns_are_left_out_and_named(make: Preparer) -> None:
    rows = "".join(f"name{i},1,,{i}\n" for i in range(60))
    done = make(f"name,same,nothing,number\n{rows}")
    assert [column.name for column in done.spec.columns] == ["number"]
    assert done.says("name is left out: it is text with 60")
    assert done.says("same is left out: every row")
    assert done.says("nothing is left out: it holds no value")


def test_text_with_many_values_is_no_target(refused: Refuser) -> None:
    rows = "".join(f"text {i},{i}\n" for i in range(60))
    refused(Code.BAD_TARGET, f"label,b\n{rows}")


def test_roles(make: Preparer, refused: Refuser) -> None:
    rows = "".join(f"{i},{i * 3},{i % 3}\n" for i in range(50))
    done = make(f"a,b,label\n{rows}", columns={"b": "target", "label": "ignored"})
    assert [target.name for target in done.spec.targets] == ["b"]
    assert done.spec.targets[0].type == "number"
    assert [column.name for column in done.spec.columns] == ["a"]
    assert refused(Code.UNKNOWN_COLUMN, f"a,b,label\n{rows}", columns={"nope": "input"}).errors[0].loc[1] == "nope"
    refused(Code.BAD_ROLES, f"a,b,label\n{rows}", columns={"a": "split", "b": "split"})


def test_whole_numbers_as_targets(make: Preparer) -> None:
    classes = make("a,quality\n" + "".join(f"{i},{3 + i % 6}\n" for i in range(60)), columns={"quality": "target"})
    assert classes.spec.targets[0].classes == ("3", "4", "5", "6", "7", "8")
    ages = make("a,age\n" + "".join(f"{i},{i % 30}\n" for i in range(60)), columns={"age": "target"})
    assert ages.spec.targets[0].type == "number"
    declared = make(
        "a,age\n" + "".join(f"{i},{i % 6}\n" for i in range(60)), types={"age": "number"}, columns={"age": "target"}
    )
    assert declared.spec.targets[0].type == "number"


def test_split_column_wins(make: Preparer, refused: Refuser) -> None:
    words = ["train", "validation", "test"]
    rows = [f"{i},{words[i % 3]}" for i in range(9)]
    done = make("a,split\n" + "\n".join(rows))
    assert done.array("split").tolist() == [i % 3 for i in range(9)]
    assert done.spec.shape == (1,)
    refused(Code.BAD_SPLIT, "a,s\n1,test\n2,test\n", columns={"s": "split"})
    assert refused(Code.BAD_SPLIT, "a,s\n1,train\n2,later\n", columns={"s": "split"}).errors[0].row == 1


def test_groups_stay_together(make: Preparer, refused: Refuser) -> None:
    text = "a,patient\n" + "".join(f"{i},p{i % 30}\n" for i in range(300))
    done = make(text, columns={"patient": "group"})
    split = done.array("split")
    for patient in range(30):
        assert len(set(split[patient::30])) == 1
    assert done.spec.rows == {"train": 240, "validation": 30, "test": 30}
    refused(Code.BAD_GROUP, "a,g\n1,x\n2,\n", columns={"g": "group"})


def test_limits(refused: Refuser) -> None:
    refused(Code.TOO_LARGE, ROWS, Limits(rows=10))
    refused(Code.TOO_LARGE, ROWS, Limits(cells=100))
    refused(Code.BAD_CSV, ROWS + f"1,2,{'x' * 200}\n", Limits(field_chars=100))
    refused(Code.TOO_MANY_CLASSES, ROWS, Limits(classes=1))


def test_modality_is_checked(refused: Refuser) -> None:
    refused(Code.WRONG_MODALITY, ROWS, modality="image")
    refused(Code.BAD_OPTION, ROWS, image={"height": 8, "width": 8})


GERMAN = "weight;height;count;label\n" + "".join(
    f"{k % 9},{k % 97:02d};1.{k % 10}34,5;{k};{'ab'[k % 2]}\n" for k in range(40)
)


def test_decimal_commas_are_read_where_the_file_shows_them(make: Preparer) -> None:
    done = make("﻿" + GERMAN.replace("\n", "\r\n"))
    assert [(column.name, column.type) for column in done.spec.columns] == [
        (name, "number") for name in ("weight", "height", "count")
    ]
    assert done.decision("decimal") == "comma"
    row = done.array("inputs")[list(done.array("rows")).index(23)]
    np.testing.assert_allclose(row, [5.23, 1334.5, 23])
    quoted = "\n".join(",".join(f'"{field}"' for field in line.split(";")) for line in GERMAN.splitlines())
    assert make(quoted, decimal="comma").spec.columns == done.spec.columns


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (GERMAN, {"decimal": "point"}),
        ("a;b;label\n" + "".join(f"{k % 7},{k:02d};{k}.5;x{k % 2}\n" for k in range(39)) + "about 3;1.5;x0\n", {}),
    ],
)
def test_other_commas_are_left_alone_with_a_hint(make: Preparer, content: str, options: dict[str, str]) -> None:
    done = make(content, **options)
    assert all(decision.field != "decimal" for decision in done.report.decisions)
    hints = [*done.report.notices, *(item.message for item in done.report.warnings)]
    assert any("set decimal to comma" in hint for hint in hints)
