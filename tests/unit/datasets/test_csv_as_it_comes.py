"""CSV files as people have them: each reading, refusal or warning as a row of a table."""

import csv
import io
from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code

from .conftest import Preparer, Refuser

N = 60
RANDOM = np.random.default_rng(12)
KIND = ["cat", "dog"]


def lines(write: Any, first: str = "", end: str = "\n") -> str:
    """Return a file of N rows by `write`(k), below the lines `first`."""
    return (first + "".join(f"{write(k)}\n" for k in range(N))).replace("\n", end)


def plain(k: int) -> str:
    return f"{k / 4},{k % 7}.5,{KIND[k % 2]}"


ORDINARY = lines(plain, "a,b,label\n")
A, B = [k / 4 for k in range(N)], [k % 7 + 0.5 for k in range(N)]


def semicolons(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


LAYOUTS = {
    "ordinary": ORDINARY,
    "sep line": "sep=;\n" + ORDINARY.replace(",", ";"),
    "sep line, quoted, and a rare delimiter": '"sep=^"\r\n' + ORDINARY.replace(",", "^").replace("\n", "\r\n"),
    "sep line that names the tab": "sep=\\t\n" + ORDINARY.replace(",", "\t"),
    "sep line padded by a spreadsheet": "sep=,,\n" + ORDINARY,
    "blanks before quotes": lines(
        lambda k: plain(k).replace(",", ', "', 1).replace(",c", '", c').replace(",d", '", d')
    ).replace("", '"a", "b", "label"\n', 1),
    "titles": "Report of 2024\nmade by us\n\n" + ORDINARY,
    "titles filled up with delimiters": "Report of 2024,,\n,,\n" + ORDINARY,
    "comments": "# made by us\n# on Monday, at noon\n" + ORDINARY,
    "numpy.savetxt": "# " + ORDINARY,
    "a delimiter at the end of every line": ORDINARY.replace("\n", ",\n"),
    "a delimiter at the end of every line but the first": ORDINARY.replace("\n", ",\n").replace("label,", "label"),
    "a delimiter at the end of the first line": ORDINARY.replace("label", "label,"),
    "carriage returns alone": ORDINARY.replace("\n", "\r"),
    "blank lines, some with blanks": ORDINARY.replace("cat\n", "cat\n  \n\n"),
    "byte order mark": "\ufeff" + ORDINARY,
    "UTF-16 with tabs, as Excel's Unicode text": ORDINARY.replace(",", "\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + ORDINARY.encode("utf-16-be"),
    "pandas index": lines(lambda k: f"{k},{plain(k)}", ",a,b,label\n"),
    "pandas index read and written again": lines(lambda k: f"{k},{k},{plain(k)}", ",Unnamed: 0,a,b,label\n"),
    "pandas index of shuffled rows": lines(lambda k: f"{7 * k % 61},{plain(k)}", "Unnamed: 0,a,b,label\n"),
    "R's write.csv": lines(lambda k: f'"{k + 1}",{plain(k)}', '"","a","b","label"\n'),
    "R's write.table": lines(lambda k: f'"{k + 1}",{plain(k)}', "a,b,label\n").replace(",", " "),
    "R's write.table with names of rows": lines(
        lambda k: f"Mazda RX{k}\t" + plain(k).replace(",", "\t"), "a\tb\tlabel\n"
    ),
    "decimal commas": semicolons(ORDINARY),
    "quoted decimal commas": lines(
        lambda k: f'"{k / 4}","{k % 7}.5"'.replace(".", ",") + f",{KIND[k % 2]}", "a,b,label\n"
    ),
    "a line end within a name": ORDINARY.replace("label", '"the\nlabel"', 1).replace("the\nlabel", "label"),
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
def test_a_table_is_read_however_it_is_laid_out(make: Preparer, content: str | bytes) -> None:
    done = make(content)
    assert [(column.name, column.type) for column in done.spec.columns] == [("a", "number"), ("b", "number")]
    assert [target.name for target in done.spec.targets] == ["label"]
    assert done.report.rows.read == done.report.rows.kept == N
    np.testing.assert_array_equal(done.array("inputs"), np.array([A, B], np.float32).T)
    assert done.decision("header") == "first"
    assert done.report.warnings == ()


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name.startswith(("pandas", "R's"))])
def test_an_index_is_left_out_unless_the_user_wants_it(make: Preparer, name: str) -> None:
    done = make(LAYOUTS[name])
    assert done.decision("columns.Unnamed: 0") == "ignored"
    assert done.says("Unnamed: 0 is left out: it has no name and")
    option = next(item.option for item in done.report.decisions if item.field == "columns.Unnamed: 0")
    assert option == 'columns={"Unnamed: 0": "input"}'


def test_an_index_may_be_an_input(make: Preparer) -> None:
    done = make(LAYOUTS["pandas index of shuffled rows"], columns={"Unnamed: 0": "input"})
    assert [column.name for column in done.spec.columns] == ["Unnamed: 0", "a", "b"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([k % 9 for k in range(N)], "number"),
        ([k / 8 for k in range(N)], "number"),
        ([f"2020-01-{k % 28 + 1:02d}" for k in range(N)], "date"),
        ([f"2020-{k // 28 + 1:02d}-{k % 28 + 1:02d}" for k in range(N)], "date"),
        (["xy"[k % 2] for k in range(N)], "category"),
    ],
)
def test_a_column_without_a_name_that_is_no_index_is_kept(make: Preparer, values: list[Any], kind: str) -> None:
    done = make(lines(lambda k: f"{values[k]},{plain(k)}", ",a,b,label\n"))
    assert (done.spec.columns[0].name, done.spec.columns[0].type) == ("Unnamed: 0", kind)
    assert done.decision("columns.Unnamed: 0") == "kept"


def test_texts_without_a_name_are_no_row_names(make: Preparer) -> None:
    done = make(lines(lambda k: f"this is a rather good film as films number {k} go,{KIND[k % 2]}", ",label\n"))
    assert done.spec.modality == "text"


def test_columns_without_a_name_elsewhere(make: Preparer) -> None:
    done = make(lines(lambda k: f"{k % 5},{k % 4},,{KIND[k % 2]}", "a,,,label\n"))
    assert [column.name for column in done.spec.columns] == ["a", "Unnamed: 1"]
    assert done.says("column 3 holds neither a name nor a value")


IRIS = lines(lambda k: f"{4 + k % 13 / 10},{k % 9}.2,{k % 5},{['setosa', 'virginica'][k % 2]}")
HEADERLESS = {
    "numbers and a class": (IRIS, ["number", "number", "number", "category"]),
    "decimal commas": (semicolons(IRIS), ["number", "number", "number", "category"]),
    "numbers alone": (lines(lambda k: f"{k % 2 + 1}\t{np.sin(k):.6f}\t{np.cos(k):.6f}"), ["number"] * 3),
    "numbers between blanks": (
        lines(lambda k: f"  {k % 2 + 1}.0e+00   {np.sin(k):.7e}  {np.cos(k):.7e}"),
        ["number"] * 3,
    ),
    "dates": (lines(lambda k: f"2020-01-{k % 28 + 1:02d},{k % 5},{KIND[k % 2]}"), ["date", "number", "category"]),
    "a missing value in the first line": (
        lines(lambda k: f"{'?' if k % 9 == 0 else k % 5},{k / 8},{KIND[k % 2]}"),
        None,
    ),
    "categories alone": (lines(lambda k: f"{KIND[k % 2]},{KIND[k % 3 % 2]},{'xyz'[k % 3]}"), ["category"] * 3),
    "two rows": ("1,2\n3,4\n", ["number"] * 2),
}


@pytest.mark.parametrize(("content", "types"), HEADERLESS.values(), ids=HEADERLESS)
def test_a_first_line_like_the_others_is_a_row_and_said(make: Preparer, content: str, types: list[str] | None) -> None:
    done = make(content, duplicates="keep")
    assert done.decision("header") == "none"
    assert done.report.rows.read == content.count("\n")
    assert [column.name for column in done.spec.columns] == [f"x{j}" for j in range(len(done.spec.columns))]
    assert types is None or [column.type for column in done.spec.columns] == types
    warning = done.warning("no_header")
    assert (warning.rows, warning.remedy) == ((0,), 'header="first" reads it as names')


HEADERS = {
    "names above numbers": ORDINARY,
    "years": lines(lambda k: f"c{k},{k},{k * 2},{k * 3}", "country,2019,2020,2021\n"),
    "one year": lines(lambda k: f"c{k},{k / 3}", "country,2020\n"),
    "pandas' default": lines(lambda k: f"{k / 3},{k % 5},{k % 2}", "0,1,2\n"),
    "pandas' default, two columns": lines(lambda k: f"{k / 3},{k % 2}", "0,1\n"),
    "wavelengths": lines(
        lambda k: ",".join(f"{np.sin(k * j):.4f}" for j in range(6)), "400.5,402.5,404.5,406.5,408.5,410.5\n"
    ),
    "steps behind a label": lines(lambda k: f"{KIND[k % 2]},{k / 3},{k / 7},{k / 11}", "label,0,1,2\n"),
    "words above categories": lines(lambda k: f"{KIND[k % 2]},{'xyz'[k % 3]},{k}", "pet,letter,number\n"),
    "a name of a value": lines(lambda k: f"{k},{['age', 'size'][k % 2]},{k % 7}", "id,age,age2\n"),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_names_are_names_without_a_warning(make: Preparer, content: str) -> None:
    done = make(content)
    assert done.decision("header") == "first"
    assert done.report.rows.read == N
    assert not [item for item in done.report.warnings if item.code == "no_header"]


def test_a_doubtful_header_is_said(make: Preparer) -> None:
    done = make(lines(lambda k: f"{k},{k / 3},{k / 7},{k % 9}", "id,3.5,8.25,7\n"))
    assert done.decision("header") == "first"
    assert done.warning("no_header").remedy == 'header="none" reads it as a row'


def test_the_user_says_whether_there_is_a_header(make: Preparer, refused: Refuser) -> None:
    named = make(IRIS, header="first", duplicates="keep")
    assert named.report.rows.read == N - 1
    assert named.spec.columns[0].name == "4.0"
    assert named.report.warnings == ()
    done = make(IRIS, header="none", columns={"x3": "target"}, duplicates="keep")
    assert done.spec.targets[0].classes == ("setosa", "virginica")
    assert done.report.warnings == ()
    assert make(IRIS, columns={"x3": "target"}, duplicates="keep").report.rows.read == N
    refused(Code.UNKNOWN_COLUMN, ORDINARY, header="first", columns={"x3": "target"})


WORDS = [f"some {'good' if k % 2 else 'bad'} words {k}" for k in range(N)]


def stray(first: int, last: int | None = None, delimiter: str = "\t") -> str:
    """Return texts with a quote before one and behind another."""
    texts = [f"{chr(34) * (k == first)}{word}{chr(34) * (k == last)}" for k, word in enumerate(WORDS)]
    return lines(lambda k: f"{texts[k]}{delimiter}{KIND[k % 2]}", f"text{delimiter}label\n")


STRAY = {
    "two quotes around 40 rows": stray(5, 45),
    "two quotes around two rows": stray(5, 6),
    "one quote": stray(5),
    "in the first row": stray(0, 30),
    "commas": stray(5, 45, ","),
    "a quoted word at the beginning": stray(0).replace('"some', '"Some" of the', 1),
    "all else is quoted": lines(lambda k: f'"{WORDS[k]}","{KIND[k % 2]}"', '"text","label"\n').replace(
        "words 7", '"7"'
    ),
}


@pytest.mark.parametrize("content", STRAY.values(), ids=STRAY)
def test_stray_quotes_swallow_no_rows(make: Preparer, content: str) -> None:
    done = make(content)
    assert done.spec.modality == "text"
    assert done.report.rows.read == done.report.rows.kept == N
    assert done.spec.targets[0].classes == ("cat", "dog")
    assert done.decision("multiline") == "no"
    assert done.warning("stray_quotes").remedy == 'multiline="yes" reads quoted fields over several lines'


def test_the_user_says_that_a_field_has_several_lines(make: Preparer, refused: Refuser) -> None:
    done = make(stray(5, 45), multiline="yes")
    assert done.report.rows.read == N - 40
    assert done.report.warnings == ()
    refused(Code.BAD_CSV, stray(5), multiline="yes")
    assert make(stray(5, 45), multiline="no").report.rows.read == N


LETTERS = [
    "Dear reader,\n\nthis was {k}\nbye, bye",
    "good film, really\nnumber {k}, it was",
    'she said ""{k}""\nand left',
    "row {k}\tcat\nrow\tdog",
]


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_texts_of_several_lines_stay_whole(make: Preparer, letter: str, delimiter: str) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter)
    writer.writerows([["id", "text", "label"], *([k, letter.format(k=k), KIND[k % 2]] for k in range(N))])
    done = make(sink.getvalue(), modality="text")
    assert done.report.rows.read == N
    assert done.array("text").tobytes().decode().startswith(letter.format(k=0))
    assert done.report.warnings == ()


def test_a_field_that_may_hold_rows_is_said(make: Preparer) -> None:
    """Its lines have as many fields as rows have, but read line by line another record would be uneven."""
    rows = [f"{k}\tsome words\t{KIND[k % 2]}" for k in range(N)]
    rows[5] = '5\t"some words\tcat\n6\tsome words"\tdog'
    rows[9] = '9\t"some\nwords"\tcat'
    done = make("id\ttext\tlabel\n" + "\n".join(rows) + "\n")
    assert done.report.rows.read == N
    assert done.warning("stray_quotes").rows == (5,)
    tables = lines(lambda k: f'{k},"{k},cat\n{k},dog",{KIND[k % 2]}', "id,text,label\n")
    assert make(tables).report.rows.read == N
    assert make(tables).warning("stray_quotes").count == N


def test_commas_that_nobody_quoted_are_refused_by_line(refused: Refuser) -> None:
    content = lines(lambda k: f"good, really{k},pos" if k % 2 else f"bad {k},neg", "text,label\n")
    for options in ({}, {"modality": "text"}):
        error = refused(Code.RAGGED_ROWS, content, **options)
        assert "line 3 has 3 fields and the header has 2" in error.message
        assert "put a text that holds a comma between double quotes" in error.message
        assert "plain text" not in error.message
    every = lines(lambda k: f"good words {k}, really,pos", "text,label\n")
    assert "line 2 has 3 fields" in refused(Code.RAGGED_ROWS, every).message


THOUSANDS = [int(n) for n in RANDOM.integers(1, 99_999, 5 * N)]
SOME = [n for n in THOUSANDS if n > 999]
FEW = [n if n > 999 and k < 6 else n % 1000 or 1 for k, n in enumerate(THOUSANDS)]
THREE_DIGITS = [f"{number:.3f}" for number in RANDOM.uniform(1, 99, N)]


def dotted(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def table_of(values: list[str], delimiter: str = ";", other: str = "7") -> str:
    return "a;b;label\n".replace(";", delimiter) + "".join(
        f'"{value}"{delimiter}{other}{delimiter}{KIND[k % 2]}\n' for k, value in enumerate(values)
    )


def points(values: list[str]) -> list[float]:
    return [float(value) for value in values]


NUMBERS: dict[str, tuple[str, list[float], str | None, bool]] = {  # content, values, decision, whether it warns
    "German thousands": (table_of(list(map(dotted, THOUSANDS))), points(list(map(str, THOUSANDS))), "comma", False),
    "with tabs": (table_of(list(map(dotted, THOUSANDS)), "\t"), points(list(map(str, THOUSANDS))), "comma", False),
    "few thousands": (table_of(list(map(dotted, FEW))), points(list(map(str, FEW))), "comma", True),
    "nothing but 1.234": (table_of(THREE_DIGITS), points(THREE_DIGITS), "point", True),
    "1.234 beside 0,5": (
        table_of(THREE_DIGITS, other="0,5"),
        [round(1000 * value) for value in points(THREE_DIGITS)],
        "comma",
        False,
    ),
    "1.234 beside 0.5": (table_of(THREE_DIGITS, other="0.5"), points(THREE_DIGITS), None, False),
    "1.234 and 5000": (table_of([*THREE_DIGITS, "5000"]), points([*THREE_DIGITS, "5000"]), None, False),
    "0.205 among 1.234": (table_of([*THREE_DIGITS, "0.205"]), points([*THREE_DIGITS, "0.205"]), None, False),
    "1.234 in a file with commas": (table_of(THREE_DIGITS, ","), points(THREE_DIGITS), None, False),
    "millions": (
        table_of(["1.234.567", *THREE_DIGITS]),
        [1234567, *(round(1000 * v) for v in points(THREE_DIGITS))],
        "comma",
        False,
    ),
    "English thousands": (table_of([f"{n:,}" for n in SOME], ","), points(list(map(str, SOME))), "point", False),
    "English thousands with fractions": (table_of([f"{n:,}.5" for n in SOME]), [n + 0.5 for n in SOME], "point", False),
    "decimal commas of three digits": (
        table_of([value.replace(".", ",") for value in [*THREE_DIGITS, "0,125"]]),
        points([*THREE_DIGITS, "0.125"]),
        "comma",
        False,
    ),
    "decimal commas and words": (
        table_of([*(f"{k},5" for k in range(N)), "n/a"]),
        [*(k + 0.5 for k in range(N)), np.nan],
        "comma",
        True,
    ),
}


@pytest.mark.parametrize(("content", "values", "decimal", "warns"), NUMBERS.values(), ids=NUMBERS)
def test_how_numbers_are_written(
    make: Preparer, content: str, values: list[float], decimal: str | None, *, warns: bool
) -> None:
    done = make(content, duplicates="keep", splits={"train": 1.0})
    assert done.spec.columns[0].type == "number"
    np.testing.assert_allclose(done.array("inputs")[:, 0], values, rtol=1e-6)
    decisions = [item.value for item in done.report.decisions if item.field in {"decimal", "decimal.a"}]
    assert decisions[-1:] == ([decimal] if decimal else [])
    assert bool(done.report.warnings) == warns


def test_a_column_may_be_overruled(make: Preparer, refused: Refuser) -> None:
    content = table_of(THREE_DIGITS)
    done = make(content, decimal={"a": "comma"}, splits={"train": 1.0}, duplicates="keep")
    np.testing.assert_allclose(done.array("inputs")[:, 0], [1000 * v for v in points(THREE_DIGITS)], rtol=1e-6)
    assert done.report.warnings == ()
    assert make(content, decimal="point").report.warnings == ()
    error = refused(Code.UNKNOWN_COLUMN, content, decimal={"z": "comma"})
    assert error.errors[0].loc == ("decimal", "z")


def test_lists_of_labels_are_no_numbers(make: Preparer) -> None:
    content = lines(lambda k: f'{k},"{k % 3},{k % 2 + 7}"', "a,tags\n")
    done = make(content, columns={"tags": "target"}, types={"tags": "labels"}, label_separator=",")
    assert len(done.spec.targets) == 5


MISSING = "NA N/A n/a #N/A NaN nan <NA> null NULL None nil ? - -- . unknown Unknown MISSING #DIV/0! \\N"


@pytest.mark.parametrize("word", [*MISSING.split(), " NA "])
def test_words_for_missing_numbers(make: Preparer, refused: Refuser, word: str) -> None:
    content = lines(lambda k: f"{word if k % 10 == 3 else k},{k / 4},{KIND[k % 2]}", "a,b,label\n")
    done = make(content)
    assert done.spec.columns[0].type == "number"
    assert np.isnan(done.array("inputs")[:, 0]).tolist() == [k % 10 == 3 for k in range(N)]
    warning = done.warning("missing_words")
    assert (warning.count, warning.rows) == (6, (3, 13, 23, 33, 43, 53))
    assert "column a" in warning.message
    assert 'missing="reject"' in str(warning.remedy)
    assert refused(Code.BAD_NUMBER, content, missing="reject").errors[0].row == 3


def test_words_for_missing_dates(make: Preparer, refused: Refuser) -> None:
    content = lines(
        lambda k: f"{'NaT' if k % 10 == 3 else f'2020-01-{k % 28 + 1:02d}'},{k},{KIND[k % 2]}", "d,b,label\n"
    )
    done = make(content)
    assert done.spec.columns[0].type == "date"
    assert done.warning("missing_words").count == 6
    assert refused(Code.BAD_DATE, content, missing="reject").errors[0].row == 3


def test_words_alone_are_categories(make: Preparer) -> None:
    done = make(lines(lambda k: f"{['none', 'unknown', '-'][k % 3]},{k / 4},{KIND[k % 2]}", "a,b,label\n"))
    assert done.spec.columns[0].categories == ("-", "none", "unknown")
    assert done.report.warnings == ()


def test_words_among_classes_are_said(make: Preparer) -> None:
    words = ["cat", "dog", "NA", "unknown", "cat", "dog"]
    content = lines(lambda k: f"{k / 4},{words[k % 6]}", "a,label\n")
    done = make(content)
    assert done.spec.targets[0].classes == ("NA", "cat", "dog", "unknown")
    warning = done.warning("missing_word_classes")
    assert (warning.count, warning.rows[:2]) == (20, (2, 3))
    assert "'NA' 10, 'unknown' 10" in warning.message
    assert 'unlabelled_value=["NA", "unknown"]' in str(warning.remedy)
    done = make(content, unlabelled_value=["NA", "unknown"], unlabelled="keep")
    assert done.spec.targets[0].classes == ("cat", "dog")
    assert np.isnan(done.array("targets")).sum() == 20
    assert done.report.warnings == ()
    assert make(content, types={"label": "category"}).report.warnings == ()


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "shift_jis", "utf-16"])
def test_an_encoding_may_be_named(make: Preparer, encoding: str) -> None:
    word = {"cp1252": "Müller", "cp1250": "Łódź", "shift_jis": "猫", "utf-16": "Äpfel"}[encoding]
    content = lines(lambda k: f"{k / 4},{[word, 'x'][k % 2]}", "a,label\n").encode(encoding)
    done = make(content, encoding=encoding)
    assert set(done.spec.targets[0].classes) == {word, "x"}


def test_an_old_encoding_is_asked_for(refused: Refuser) -> None:
    content = lines(lambda k: f"{k / 4},{['Müller', 'x'][k % 2]}", "a,label\n").encode("cp1252")
    error = refused(Code.ENCODING, content)
    assert "line 2 is not UTF-8" in error.message
    assert "encoding=\"cp1252\" (Windows, Western Europe) would read '0.0,Müller'" in error.message
    assert refused(Code.ENCODING, content, encoding="euc-kr").errors[0].loc == ("encoding",)


def test_utf16_is_a_mark_for_every_text(make: Preparer) -> None:
    done = make("one\ntwo\n".encode("utf-16"), text={"rows": "lines"}, splits={"train": 1.0})
    assert done.array("text").tobytes() == b"onetwo"
    assert done.decision("encoding") == "utf-16"
    rows = "".join(f'{{"a": {k}, "label": "{KIND[k % 2]}"}}\n' for k in range(N))
    assert make(rows.encode("utf-16")).report.source.format == "jsonl"
