"""Values that may mean something else than they say: they are read, and the doubt is a warning with its remedy."""

import io
import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.datasets.errors import Code
from app.ml.spec import WarningCode

from .conftest import Outcome, Preparer, Refuser, npz, picture, zipped

Y = np.arange(60) % 3


def table(name: str, values: list[Any], count: int = 60) -> str:
    rows = "".join(f"{values[k % len(values)]},{k * 0.37:.2f},{k % 2}\n" for k in range(count))
    return f"{name},other,label\n{rows}"


def codes(done: Outcome) -> list[str]:
    return [item.code for item in done.report.warnings]


@pytest.mark.parametrize(("sentinel", "others"), [("-999", ["20.5", "31", "18"]), ("9999", ["3", "7", "1"])])
def test_a_number_far_from_all_others_may_mean_a_missing_value(
    make: Preparer, sentinel: str, others: list[str]
) -> None:
    done = make(table("heat", [sentinel, *others]))
    warning = done.warning(WarningCode.SENTINEL_VALUES)
    assert (warning.count, warning.rows[:2]) == (15, (0, 4))
    assert warning.remedy == f'missing_values=["{sentinel}"] makes it one'
    again = make(table("heat", [sentinel, *others]), missing_values=[sentinel])
    assert math.isnan(again.array("inputs")[0, 0])
    assert again.array("inputs")[1, 0] == float(others[0])
    assert codes(again) == []


@pytest.mark.parametrize("values", [["99", "98", "97", "12"], ["-9", "-8", "-3", "-5"], ["999", "0", "500", "700"]])
def test_a_number_among_others_means_itself(make: Preparer, values: list[str]) -> None:
    assert codes(make(table("points", values))) == []


WAVES = np.random.default_rng(0).normal(size=(60, 8, 2))
WAVES[::3, 2] = -999
LONG = "id,heat,label\n" + "".join(f"{i // 6},{-999 if i % 4 == 0 else i % 7},{'ab'[i // 6 % 2]}\n" for i in range(360))


@pytest.mark.parametrize(
    ("content", "options", "count"),
    [
        (npz(x=WAVES, y=Y % 2), {"modality": "series"}, 40),
        (npz(x=WAVES[:, :, 0], y=Y % 2), {}, 20),
        ("".join(json.dumps({"signal": [i, -999, 3], "label": "ab"[i % 2]}) + "\n" for i in range(60)), {}, 60),
        ("a,b,c,label\n" + "".join(f"{i},-999,{i % 7},{'ab'[i % 2]}\n" for i in range(60)), {"modality": "series"}, 60),
        (LONG, {"series": {"id": "id"}}, 90),
    ],
)
def test_listed_values_are_missing_in_series_and_arrays(
    make: Preparer, content: bytes | str, options: dict[str, Any], count: int
) -> None:
    plain = make(content, **options)
    warnings = [item for item in plain.report.warnings if item.code == "sentinel_values"]
    assert sum(item.count for item in warnings) == count
    assert {item.remedy for item in warnings} == {'missing_values=["-999"] makes it one'}
    again = make(content, **options, missing_values=["-999"])
    assert not [item for item in again.report.warnings if item.code == "sentinel_values"]
    before, after = plain.array("inputs"), again.array("inputs")
    assert np.array_equal(np.where(before == -999, np.nan, before), after, equal_nan=True)
    assert again.says(f"{count} values are missing") or again.says(f"{count // 2} values are missing")


def test_missing_values_of_texts_are_refused(refused: Refuser) -> None:
    texts = "text,label\n" + "".join(f"a text of some words {i},{'ab'[i % 2]}\n" for i in range(60))
    assert "leave it out" in str(refused(Code.BAD_OPTION, texts, missing_values=["-999"]).errors[0].msg)


def test_words_for_missing_values_among_categories_are_named(make: Preparer) -> None:
    done = make(table("colour", ["?", "red", "blue", "NA"]))
    assert done.spec.columns[0].categories == ("?", "NA", "blue", "red")
    assert done.says('missing_values=["?", "NA"]')
    again = make(table("colour", ["?", "red", "blue", "NA"]), missing_values=["?", "NA"])
    assert again.spec.columns[0].categories == ("blue", "red")
    assert np.isnan(again.array("inputs")[[0, 3], 0]).all()


def test_a_table_without_a_target_says_how_to_name_one(make: Preparer) -> None:
    done = make("a,b,Churn\n" + "".join(f"{k * 0.3:.1f},{k % 7},{'yn'[k % 2]}\n" for k in range(40)))
    assert done.spec.targets == ()
    assert done.says('columns={"Churn": "target"}')
    assert not make(table("colour", ["red", "blue"])).says("no column is a target")


@pytest.mark.parametrize("name", ["kind", "amount"])
def test_the_names_of_columns_among_the_rows_are_left_out(make: Preparer, name: str) -> None:
    part = f"{name},group\n" + "".join(f"{'xyz'[k % 3] if name == 'kind' else k},{'pq'[k % 2]}\n" for k in range(30))
    done = make(part * 3)
    warning = done.warning(WarningCode.REPEATED_HEADER)
    assert warning.count == 2
    assert done.report.rows.read == 90
    assert [column.name for column in done.spec.columns] == [name, "group"]


def test_rows_like_the_first_of_a_file_without_names_stay(make: Preparer) -> None:
    done = make("".join(f"{'xyz'[k % 3]},{'pq'[k % 2]}\n" for k in range(60)))
    assert done.report.rows.read == 60
    assert WarningCode.REPEATED_HEADER not in codes(done)


def test_a_last_row_that_is_called_a_total_warns(make: Preparer) -> None:
    done = make(table("region", ["north", "south"]) + "Total,654.90,30\n", columns={"label": "input"})
    assert done.warning(WarningCode.TOTAL_ROW).rows == (60,)
    assert codes(make(table("part", ["total", "part"], 59), columns={"other": "ignored"})).count("total_row") == 1
    assert WarningCode.TOTAL_ROW not in codes(make(table("part", ["total", "part"])))


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("{m}.05.2024", "ISO 8601"),
        ("{k:02}:{m:02}", "of minutes"),
        ("{m}.5 kg", "in one unit"),
        ("{k}-{m}-z", None),
    ],
)
def test_a_column_in_a_notation_that_is_not_read_warns(make: Preparer, value: str, remedy: str | None) -> None:
    values = [value.format(k=k % 24, m=k) for k in range(60)]
    done = make(table("when", values))
    assert "when" in done.spec.left_out
    warnings = [item for item in done.report.warnings if item.code == WarningCode.UNREAD_NOTATION]
    assert [remedy in str(item.remedy) for item in warnings] == ([] if remedy is None else [True])


def test_a_table_with_nothing_else_says_what_its_column_lacks(refused: Refuser) -> None:
    rows = "".join(f"{k}.5 kg,{k % 2}\n" for k in range(60))
    assert "units" in refused(Code.NO_INPUTS, f"weight,label\n{rows}").message
    assert "add columns" in refused(Code.NO_INPUTS, "label\n" + "a\nb\n" * 20).message


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool", "float32"])
def test_masks_of_zero_and_one_are_black_and_white(make: Preparer, kind: str) -> None:
    pixels = (np.random.default_rng(0).random((60, 8, 8)) > 0.5).astype(kind)
    done = make(npz(x=pixels, y=Y))
    assert np.array_equal(done.array("inputs")[..., 0], pixels.astype(np.uint8) * 255)
    assert done.spec.value_scale == 255


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_pixels_that_are_nearly_black_warn(make: Preparer, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 17, (60, 8, 8)).astype(kind)
    done = make(npz(x=pixels, y=Y))
    remedy = str(done.warning(WarningCode.FEW_LEVELS).remedy)
    assert 'image={"pixel_range": [0, 16]}' in remedy
    assert make(npz(x=pixels, y=Y), image={"pixel_range": [0, 16]}).array("inputs").max() == 255


def test_image_files_that_are_nearly_black_warn(make: Preparer) -> None:
    members = {}
    for k in range(24):
        buffer = io.BytesIO()
        mask = np.random.default_rng(k).integers(0, 2, (8, 8), dtype=np.uint8)
        Image.fromarray(mask).save(buffer, "PNG")
        members[f"{'ab'[k % 2]}/{k}.png"] = buffer.getvalue()
    assert make(zipped(members)).warning(WarningCode.FEW_LEVELS).count == 24
    assert WarningCode.FEW_LEVELS not in codes(make(zipped({f"{'ab'[k % 2]}/{k}.png": picture(k) for k in range(24)})))


def test_series_with_more_channels_than_steps_warn(make: Preparer, refused: Refuser) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3, 50))
    done = make(npz(x=x, y=Y), modality="series")
    assert "numpy.moveaxis(x, 1, 2)" in str(done.warning(WarningCode.CHANNELS_FIRST).remedy)
    assert codes(make(npz(x=np.moveaxis(x, 1, 2), y=Y), modality="series")) == []
    assert "numpy.moveaxis(x, 1, 2)" in refused(Code.BAD_ARRAY, npz(x=x, y=Y)).message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"% about\n\n@RELATION iris\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n", "ARFF"),
        (b"+1 1:0.5 3:0.25\n-1 2:1\n", "LIBSVM"),
    ],
)
def test_formats_of_other_programs_are_named(refused: Refuser, content: bytes, words: str) -> None:
    assert words in refused(Code.UNSUPPORTED_FORMAT, content).message


@pytest.mark.parametrize(("ending", "advice"), [(".tif", "PNG"), (".bmp", "PNG"), (".zip", "unpack"), ("", "ending")])
def test_files_that_are_not_read_are_refused_with_the_way_out(refused: Refuser, ending: str, advice: str) -> None:
    assert advice in refused(Code.BAD_IMAGE, zipped({f"cat/{k}{ending}": b"data" for k in range(4)})).message


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ('"47.{m:02}, 8.{k}"', "a column for each of them"),
        ("{m}/100", "a column for each of them"),
        ('"[[{m}, 1], [2, 3]]"', "JSON Lines"),
        ("\"{{'a': {m}}}\"", "a column for each key"),
        ("{m}°C", "in one unit"),
    ],
)
def test_a_column_of_several_values_in_a_text_warns(make: Preparer, value: str, remedy: str) -> None:
    done = make(table("what", [value.format(k=k % 24, m=k) for k in range(60)]))
    assert remedy in str(done.warning(WarningCode.UNREAD_NOTATION).remedy)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_read_once_it_is_said(make: Preparer, refused: Refuser, codec: str) -> None:
    content = table("städte", ["Zürich", "Bern"]).encode(codec)
    assert 'encoding="utf-16"' in refused(Code.ENCODING, content).message
    assert make(content, encoding="utf-16").spec.columns[0].categories == ("Bern", "Zürich")


@pytest.mark.parametrize(
    ("code", "document"),
    [
        (Code.MIXED_TYPES, '{"a": [1], "b": ["x", 3]}'),
        (Code.UNSUPPORTED_COLUMN, '{"data": [{"a": 1}]}'),
        (Code.MIXED_TYPES, '{"a": {"0": 1, "1": 2}}'),
    ],
)
def test_one_document_of_json_is_no_row(refused: Refuser, code: Code, document: str) -> None:
    assert "lines=True" in refused(code, document).message
    assert "lines=True" not in refused(code, f"{document}\n{document}").message


def test_a_line_below_a_table_is_named_as_such(refused: Refuser) -> None:
    error = refused(Code.RAGGED_ROWS, table("a", ["x", "y"]) + "\nSource: an office\n")
    assert "no row of the table" in error.message


def test_two_columns_of_texts_are_refused_with_a_request_that_works(make: Preparer, refused: Refuser) -> None:
    rows = "".join(f'"{k % 4 + 1}","the title of story {k}","nobody knew of the {k} of them"\n' for k in range(60))
    message = refused(Code.BAD_ROLES, rows).message
    request = json.loads(message.rpartition("columns=")[2])
    done = make(rows, columns=request)
    assert (done.spec.modality, [target.name for target in done.spec.targets]) == ("text", ["x0"])
