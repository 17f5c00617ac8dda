"""Files of rows to answer: every row once with its number, from any row on, in every format that is read."""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.batch_predictions.row_files import Expected
from app.batch_predictions.row_files.base import MAX_BLOCK_ROWS
from app.datasets.errors import DatasetError
from tests.support.row_files import IMAGE, NUMBERED, SERIES, TEXT, Reader, packed


def test_a_csv_has_an_object_of_texts_for_each_row(reader: Reader) -> None:
    assert reader.rows('id,age,city\n1,41,Bern\n\n2,,"Basel, CH"\n') == [
        {"id": "1", "age": "41", "city": "Bern"},
        {"id": "2", "age": "", "city": "Basel, CH"},
    ]


def test_large_files_are_read_from_any_block_on(reader: Reader) -> None:
    count = 3 * MAX_BLOCK_ROWS + 5
    rows = reader.rows("age,city\n" + "".join(f"{number},Bern\n" for number in range(count)))
    assert [int(row["age"]) for row in rows] == list(range(count))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_seen(reader: Reader, separator: str) -> None:
    text = "id,age,city\n1,41,Bern\n2,42,Basel\n".replace(",", separator)
    assert [row["city"] for row in reader.rows(text)] == ["Bern", "Basel"]


def test_titles_repeated_headers_and_rules_are_no_rows(reader: Reader) -> None:
    text = "Export of May;;\nid;age;city\n1;41;Bern\nid;age;city\n2;42;Basel\n"
    assert [row["id"] for row in reader.rows(text)] == ["1", "2"]
    assert reader.codes() == ["repeated_header"]


def test_a_line_of_another_width_is_a_row_with_an_error(reader: Reader) -> None:
    rows = reader.rows("id,age,city\n1,41,Bern\n2,42\n3,43,Chur,,\n4,44,Genf,x\n5,45,Thun\n")
    assert rows[1] == "!line 3 has 2 fields and the header has 3"
    assert rows[3] == "!line 5 has 4 fields and the header has 3"
    assert [row["id"] for row in (rows[0], rows[2], rows[4])] == ["1", "3", "5"]


def test_names_of_the_training_file_make_the_first_line_a_header(reader: Reader) -> None:
    """All values look like names; of one row nothing else could tell."""
    assert reader.rows("city,age\nBern,old\n") == [{"city": "Bern", "age": "old"}]


def test_a_file_without_names_is_read_as_the_training_file_was(reader: Reader) -> None:
    assert reader.rows("1.5,2\n3,4\n", NUMBERED) == [{"x0": "1.5", "x1": "2"}, {"x0": "3", "x1": "4"}]


def test_a_quote_without_a_partner_swallows_no_rows(reader: Reader) -> None:
    rows = reader.rows('id,age,city\n1,41,"Bern\n2,42,Basel\n3,43,"Chur\n4,44,Genf\n')
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert reader.codes() == ["stray_quotes"]


def test_texts_over_several_lines_stay_one_row(reader: Reader) -> None:
    rows = reader.rows('id,review\n1,"Good.\nVery good, indeed."\n2,Bad\n', TEXT)
    assert rows == [{"id": "1", "review": "Good.\nVery good, indeed."}, {"id": "2", "review": "Bad"}]


def test_other_encodings_are_read_where_they_are_named_or_marked(reader: Reader) -> None:
    text = "age,city\n41,Zürich\n"
    assert reader.rows(text.encode("utf-16"))[0]["city"] == "Zürich"
    assert reader.rows("\ufeff" + text)[0] == {"age": "41", "city": "Zürich"}
    latin = Expected("table", inputs=("age", "city"), encoding="cp1252")
    assert reader.rows(text.encode("cp1252"), latin)[0]["city"] == "Zürich"
    with pytest.raises(DatasetError, match="line 2 is not UTF-8 text"):
        reader.open(text.encode("cp1252"))


def test_json_lines_hold_objects_lists_or_errors(reader: Reader) -> None:
    lines = ['{"id": 7, "age": 41.5, "note": null}', "", '{"age": }', '{"id": 8, "vip": true, "tags": ["a"]}']
    rows = reader.rows("\n".join(lines))
    assert rows[0] == {"id": 7, "age": 41.5, "note": None}
    assert rows[1].startswith("!line 3: ")
    assert len(rows) == 3
    columns = reader.open("\n".join(lines)).columns
    assert columns == {"id": "whole", "age": "number", "note": "text", "vip": "truth", "tags": "text"}
    assert reader.rows("[1, 2]\n[3]\n", SERIES) == [[1, 2], [3]]
    assert reader.rows('"One."\n"Two."\n', TEXT, "texts.jsonl") == ["One.", "Two."]


def test_rows_as_a_dataset_shows_them_are_read_without_their_labels(reader: Reader) -> None:
    shown = {"row": 3, "split": "test", "input": {"age": 41.0}, "targets": {"churn": "yes"}}
    assert reader.rows(json.dumps(shown) + "\n") == [{"age": 41.0}]


def test_plain_text_has_a_row_for_each_line_or_paragraph(reader: Reader) -> None:
    text = "A kind place.\nBroken,\n\nOnce, twice, thrice.\n"
    assert reader.rows(text, TEXT, "texts.txt") == ["A kind place.", "Broken,", "Once, twice, thrice."]
    paragraphs = Expected("text", inputs=("review",), paragraphs=True)
    assert reader.rows(text, paragraphs, "texts.txt") == ["A kind place.\nBroken,", "Once, twice, thrice."]


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=700)
    return file.getvalue()


def test_parquet_is_read_a_batch_at_a_time(reader: Reader) -> None:
    count = 3000
    content = parquet(id=list(range(count)), age=[float(n) for n in range(count)], city=["Bern", None] * (count // 2))
    rows = reader.rows(content)
    assert rows[2999] == {"id": 2999, "age": 2999.0, "city": None}
    assert reader.open(content).columns == {"id": "whole", "age": "number", "city": "text"}


def test_a_text_that_a_dictionary_repeats_too_often_is_refused(reader: Reader) -> None:
    city = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * (1 << 20)]))
    content = parquet(age=[1.0] * 1000, city=city.cast(pa.string()))
    with pytest.raises(DatasetError, match="unpack to more than"):
        list(reader.open(content).blocks(0))


def test_arrays_are_mapped_and_labels_in_them_are_not_read(reader: Reader) -> None:
    x = np.arange(6000.0).reshape(3000, 2)
    file = io.BytesIO()
    np.save(file, x)
    assert np.array_equal(reader.rows(file.getvalue(), NUMBERED), x)
    file = io.BytesIO()
    np.savez(file, x=x, y=np.zeros(3000))
    assert np.array_equal(reader.rows(file.getvalue(), NUMBERED), x)
    file = io.BytesIO()
    np.savez(file, x=x[:2], lengths=np.array([1, 2]))
    assert [row.tolist() for row in reader.rows(file.getvalue(), SERIES)] == [[0.0], [2.0, 3.0]]


def test_a_zip_holds_pictures_texts_or_one_table(reader: Reader) -> None:
    pictures = reader.open(packed(b_png=b"\x89PNG", a__c_png=b"\x89PNG..", notes_csv="x"), IMAGE)
    (block,) = pictures.blocks(0)
    assert (block.files, block.inputs) == (["a/c.png", "b.png"], [b"\x89PNG..", b"\x89PNG"])
    assert reader.codes() == ["files_not_read"]
    texts = packed(**{f"{name}_txt": f"{name}\r\n" for name in ("one", "two")})
    assert reader.rows(texts, TEXT) == ["one", "two"]
    assert reader.rows(packed(rows_csv="age,city\n41,Bern\n")) == [{"age": "41", "city": "Bern"}]


def test_what_no_reader_knows_is_refused(reader: Reader) -> None:
    for content in (b"\x1f\x8b\x08", b"SQLite format 3\x00", b"<html></html>"):
        with pytest.raises(DatasetError):
            reader.open(content)
    with pytest.raises(DatasetError, match="a header and no rows"):
        reader.open("age,city\n")
