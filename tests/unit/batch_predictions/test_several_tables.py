"""Several tables of rows in one zip: one behind the other, each row with the name of its file."""

import io

import pandas as pd
import pytest

from app.batch_predictions.row_files.base import MAX_BLOCK_ROWS
from app.datasets.errors import DatasetError
from tests.support.row_files import TEXT, Reader, inputs_of, packed


def lines(first: int, count: int) -> str:
    return "id,age,city\n" + "".join(f"c{number},{number},Bern\n" for number in range(first, first + count))


def test_tables_stand_below_each_other_with_their_names(reader: Reader) -> None:
    count = MAX_BLOCK_ROWS + 5
    content = packed(part__b_csv=lines(count, 3), part__a_csv=lines(0, count), part__c_csv=lines(count + 3, count))
    rows = reader.rows(content)
    assert [row["id"] for row in rows] == [f"c{number}" for number in range(2 * count + 3)]
    file = reader.open(content)
    names = [name for block in file.blocks(0) for name in block.files or ()]
    assert names == ["part/a.csv"] * count + ["part/b.csv"] * 3 + ["part/c.csv"] * count
    (block, *_) = file.blocks(count + 1)
    assert (block.first, block.files) == (count + 1, ["part/b.csv"] * 2)
    assert [row["id"] for row in inputs_of(block)] == [f"c{count + 1}", f"c{count + 2}"]


def test_formats_may_differ_and_targets_may_be_lacking(reader: Reader) -> None:
    """What is learned from has to be alike; what is answered has to hold the inputs."""
    parquet = io.BytesIO()
    pd.DataFrame({"age": [3.5], "city": ["Chur"], "id": [7], "churn": ["no"]}).to_parquet(parquet)
    rows = reader.rows(
        packed(train_csv=lines(0, 1), test_parquet=parquet.getvalue(), x_jsonl='{"age":1,"city":"Bern"}\n')
    )
    assert rows == [
        {"age": 3.5, "city": "Chur", "id": 7, "churn": "no"},
        {"id": "c0", "age": "0", "city": "Bern"},
        {"age": 1, "city": "Bern"},
    ]
    assert dict(reader.open(packed(a_csv=lines(0, 1), b_jsonl='{"age":1,"city":"x","id":3}')).columns)["id"] == "text"


def test_faults_name_their_file_and_warnings_their_rows(reader: Reader) -> None:
    with pytest.raises(DatasetError, match=r"'b.csv': the file holds a header and no rows"):
        reader.open(packed(a_csv=lines(0, 1), b_csv="id,age,city\n"))
    rows = reader.rows(packed(a_csv=lines(0, 2), b_csv=lines(2, 1) + "id,age,city\nc3,3\n"))
    assert rows[3] == "!line 4 has 2 fields and the header has 3"
    assert reader.notes.warnings[0].message.startswith("b.csv: 1 lines hold the names")
    with pytest.raises(DatasetError, match=r"'a.csv' and 'b.csv' do not hold the same inputs: city is in 'a.csv'"):
        reader.open(packed(a_csv=lines(0, 1), b_csv="id,age\nc1,1\n"))


def test_a_few_texts_beside_tables_are_notes(reader: Reader) -> None:
    content = packed(a_csv="id,review\n1,Good\n", b_csv="id,review\n2,Bad\n", about_txt="Reviews.")
    assert [row["review"] for row in reader.rows(content, TEXT)] == ["Good", "Bad"]
    assert reader.codes()[0] == "files_not_read"
