"""Numbers as people write them, amounts and lists, are read as numbers, or it is said why not."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.ml.errors import InputError
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.columns import CategoryColumn, NumberColumn
from app.ml.kinds.modalities.decoding import number_of
from app.ml.kinds.modalities.table import TableModality
from app.ml.spec import ColumnSpec, DecimalSign

from .conftest import Outcome, Preparer, Refuser

WORDS = ["the room was clean", "nobody answered the phone", "a view of the lake", "the heating was broken"]


def table(values: list[str], delimiter: str = ",", name: str = "price") -> str:
    """A CSV of a column, in quotes, and labels."""
    rows = (f'"{value}"{delimiter}{k % 2}\n' for k, value in enumerate(values * 10))
    return f"{name}{delimiter}label\n" + "".join(rows)


def numbers(done: Outcome) -> list[float]:
    """The first four values of the first column."""
    assert done.spec.modality == "table"
    assert done.spec.columns[0].type == "number"
    return [float(value) for value in done.array("inputs")[:4, 0]]


@pytest.mark.parametrize(
    ("values", "delimiter", "right", "decimal", "sign"),
    [
        (["$1,234.50", "$0.99", "$12", "-$7.25"], ",", [1234.5, 0.99, 12, -7.25], "point", "$"),
        (["1.234,50 €", "0,99 €", "12 €", "-7,25 €"], ";", [1234.5, 0.99, 12, -7.25], "comma", "€"),
        (["CHF 1'234.50", "CHF 0.99", "CHF 12.00", "CHF 7.25"], ",", [1234.5, 0.99, 12, 7.25], "point", "CHF"),
        (["1 234,50", "0,99", "12", "987 654 321"], ";", [1234.5, 0.99, 12, 987654321], "comma", ""),
        (["1\u202f234,50", "0,99", "12", "7,5"], ";", [1234.5, 0.99, 12, 7.5], "comma", ""),
        (["1\u2019234.5", "2\u2019000.0", "12.5", "7.5"], ",", [1234.5, 2000, 12.5, 7.5], "point", ""),
        (["12.5%", "0.4 %", "0", "100%"], ",", [12.5, 0.4, 0, 100], "point", "%"),
        (["(12.50)", "3.25", "1,250.00", "7"], ",", [-12.5, 3.25, 1250, 7], "point", ""),
        (["12.50-", "3.25", "\u22124.5", "7"], ",", [-12.5, 3.25, -4.5, 7], "point", ""),
        (["1,23,456", "12,34,567", "100", "7"], ",", [123456, 1234567, 100, 7], "point", None),
    ],
)
def test_amounts_are_numbers(
    make: Preparer, values: list[str], delimiter: str, right: list[float], decimal: DecimalSign, sign: str | None
) -> None:
    done = make(table(values, delimiter))
    assert numbers(done) == right
    assert done.spec.columns[0].decimal in {decimal, None}
    assert done.spec.columns[0].sign == sign
    column = TableModality.fit(done.array("inputs"), done.spec).columns[0]
    doubts = Doubts()
    assert [column.decode(value, doubts) for value in values] == right  # texts are read as those of the file
    assert column.decode(right[0], doubts) == right[0]
    assert not doubts.warnings()


def test_what_amounts_are_read_as_is_a_decision(make: Preparer) -> None:
    done = make(table(["$5.50", "$7", "n/a", "$8"], name="cost"))
    (decision,) = (item for item in done.report.decisions if item.field == "types.cost")
    assert decision.option == 'types={"cost": "category"}'
    assert "$5.50" in decision.reason
    assert math.isnan(done.array("inputs")[2, 0])
    kept = make(table(["$5.50", "$7", "$8", "$9"], name="cost"), types={"cost": "category"})
    assert kept.spec.columns[0].categories == ("$5.50", "$7", "$8", "$9")


@pytest.mark.parametrize(
    "values", [["$5", "€7", "€8", "$9"], ["5%", "0.07", "8%", "0.5"], ["12 kg", "14 lbs", "9 kg", "7 kg"]]
)
def test_amounts_of_several_kinds_are_no_numbers(make: Preparer, values: list[str]) -> None:
    assert make(table(values)).spec.columns[0].type == "category"


@pytest.mark.parametrize("name", ["phone", "code"])
def test_codes_with_blanks_are_no_numbers(make: Preparer, name: str) -> None:
    done = make(table(["123 456", "234 567", "345 678", "456 789"], name=name))
    assert done.spec.columns[0].type == "category"


@pytest.mark.parametrize(
    ("text", "written", "right"),
    [
        ("1.234", ("comma", ""), 1234.0),
        ("1.234", ("point", ""), 1.234),
        ("1.234", (None, None), 1.234),
        ("12,5", ("comma", ""), 12.5),
        ("1.5", ("comma", ""), 1.5),
        ("1,234", ("point", ""), 1234.0),
        ("1,234", ("comma", ""), 1.234),
        ("1,234", (None, None), None),
        ("46,6", (None, None), 46.6),
        ("$5", ("point", "$"), 5.0),
        ("€5", ("point", "$"), None),
        ("5%", ("point", ""), None),
        ("tall", ("point", ""), None),
    ],
)
def test_texts_are_numbers_in_the_notation_of_the_file(
    text: str, written: tuple[DecimalSign | None, str | None], right: float | None
) -> None:
    assert number_of(text, *written) == right


def test_a_column_of_an_older_release_has_no_sign() -> None:
    assert ColumnSpec.model_validate({"name": "a", "type": "number"}).sign is None
    assert NumberColumn.model_validate({"type": "number", "name": "a", "mean": 0, "std": 1}).sign is None


def test_one_and_one_point_zero_are_one_category(make: Preparer) -> None:
    done = make(table(["1", "1.0", "x", "2.0"], name="shop"))
    assert done.spec.columns[0].categories == ("1", "2.0", "x")
    assert done.array("inputs")[:4, 0].tolist() == [0, 0, 2, 1]
    assert done.says("1.0 = 1")
    assert isinstance(TableModality.fit(done.array("inputs"), done.spec).columns[0], CategoryColumn)


@pytest.mark.parametrize(
    "written", ["[0.5, 1.5, -2e-3]", "[0.5 1.5 -2e-3]", "(0.5, 1.5, -0.002)", "[ 0.5\n 1.5 -0.002]"]
)
def test_written_lists_of_numbers_are_columns(make: Preparer, written: str) -> None:
    done = make(table([written, "[1, 2, 3]", "[nan, 5, 6]", "[7., 8, 9]"], name="emb"))
    assert [column.name for column in done.spec.columns] == ["emb0", "emb1", "emb2"]
    assert done.array("inputs")[0].tolist() == [0.5, 1.5, -0.002]
    assert math.isnan(done.array("inputs")[2, 0])
    assert done.decision("columns.emb") == "columns"


def test_written_lists_of_several_lengths_are_series(make: Preparer) -> None:
    done = make(table(["[1, 2]", "[3, 4, 5]", "[6, 7]", "[8]"], name="signal"))
    assert (done.spec.modality, done.spec.shape) == ("series", (3, 1))


def test_pixels_with_blanks_between_are_columns_and_no_text(make: Preparer) -> None:
    done = make(table([" ".join(str(37 * k % 256) for k in range(row, row + 16)) for row in range(4)], name="pixels"))
    assert (done.spec.modality, done.spec.shape) == ("table", (16,))


def test_arrays_that_numpy_cut_short_are_refused(refused: Refuser) -> None:
    error = refused(Code.MIXED_TYPES, table(["[0.1 0.2 ... 0.8 0.9]", "[1.1 1.2 ... 1.8 1.9]"], name="emb"))
    assert 'columns={"emb": "ignored"}' in error.message


def test_a_row_without_a_list_among_lists_is_refused_by_row(refused: Refuser) -> None:
    values = ["[1, 2]"] * 1100 + ["[1, two]"]
    error = refused(Code.MIXED_TYPES, "emb,label\n" + "".join(f'"{value}",{k % 2}\n' for k, value in enumerate(values)))
    assert error.errors[0].row == 1100


def files_of_labels(lists: list[list[int]]) -> dict[str, str | bytes]:
    """The same texts and lists as JSON Lines, Parquet and CSV."""
    rows = [{"text": f"{WORDS[k % 4]} {k}", "labels": lists[k % len(lists)]} for k in range(40)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    lines = "".join(f'{row["text"]},"{row["labels"]}"\n' for row in rows)
    return {
        "jsonl": "\n".join(json.dumps(row) for row in rows),
        "parquet": sink.getvalue().to_pybytes(),
        "csv": f"text,labels\n{lines}",
    }


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize(
    ("lists", "names", "first"),
    [
        ([[27], [3, 5], [3]], ["27", "3", "5"], [1, 0, 0]),
        ([[1, 0, 0], [0, 1, 0], [0, 1, 1]], ["0", "1", "2"], [1, 0, 0]),
    ],
)
def test_lists_of_numbers_that_are_called_labels_are_labels(
    make: Preparer, kind: str, lists: list[list[int]], names: list[str], first: list[int]
) -> None:
    done = make(files_of_labels(lists)[kind])
    assert done.spec.modality == "text"
    assert [target.name for target in done.spec.targets] == [f"labels.{name}" for name in names]
    assert done.array("targets")[0].tolist() == first


def test_labels_in_lists_are_one_in_any_case(make: Preparer) -> None:
    lists = [["Spam", "ad"], ["spam"], [], ["ad"]]
    done = make("\n".join(json.dumps({"x": k / 3, "tags": lists[k % 4]}) for k in range(40)), unlabelled="keep")
    assert [target.name for target in done.spec.targets] == ["tags.Spam", "tags.ad"]
    assert done.array("targets")[:4].tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]
    assert done.says("'Spam' = 'spam'")


@pytest.mark.parametrize("value", ["{k}.5 kg", "1:{k} 4:0.2", "18.0   {k}   307.0   130.0"])
def test_numbers_are_no_free_text(refused: Refuser, value: str) -> None:
    lines = "".join(f"{value.format(k=k)},{k % 2}\n" for k in range(40))
    refused(Code.NO_INPUTS, f"weight,label\n{lines}")


@pytest.mark.parametrize("value", [[0.5, 1, None], "[0.5, 1, nan]", "[0.5 1. nan]"])
def test_a_row_with_a_list_is_asked_as_the_file_has_it(make: Preparer, value: object) -> None:
    done = make(table(["[1, 2, 3]", "[4, 5, nan]", "[7, 8, 9]"], name="emb"))
    model = TableModality.fit(done.array("inputs"), done.spec)
    (row,) = model.decode([{"emb": value, "label": 1}])
    assert row[:2].tolist() == [0.5, 1]
    assert math.isnan(row[2])
    with pytest.raises(InputError, match="a list of 2 numbers is given, and each training row had 3"):
        model.decode([{"emb": [1, 2]}])
