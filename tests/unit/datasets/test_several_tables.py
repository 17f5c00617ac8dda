"""Several tables in one zip: splits by the names of files, parts of one table, or refused with what differs."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.ml.spec import SPLITS, WarningCode

from .conftest import Outcome, Preparer, Refuser, picture, zipped

Rows = list[dict[str, Any]]


def rows(count: int, start: int = 0, **columns: Callable[[int], Any]) -> Rows:
    """Rows of a number, a category and what `columns` say."""
    made = {"a": lambda k: k / 4 + 0.125, "b": lambda k: "uvw"[k % 3], **columns}
    return [{name: value(k) for name, value in made.items()} for k in range(start, start + count)]


def labelled(count: int, start: int = 0) -> Rows:
    return rows(count, start, label=lambda k: "xy"[k * 7 % 5 % 2])


def csv(table: Rows) -> bytes:
    lines = [",".join(table[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in table)]
    return "\n".join(lines).encode()


def jsonl(table: Rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in table)


def parquet(table: Rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), sink)
    return sink.getvalue()


WRITERS = {"csv": csv, "jsonl": jsonl, "parquet": parquet}


def split_sizes(done: Outcome) -> tuple[int, ...]:
    return tuple(done.spec.rows[split] for split in SPLITS)


def codes(done: Outcome) -> set[str]:
    return {item.code for item in done.report.warnings}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "valid", "test"),
        ("data/Training", "data/dev", "data/Testing"),
        ("train/part-0", "val/part-0", "test/part-0"),
        ("d/train-00000-of-00002", "d/validation-00000-of-00001", "d/test-00000-of-00001"),
    ],
)
def test_files_called_train_and_test_are_splits(
    make: Preparer, kind: str, train: str, validation: str, test: str
) -> None:
    write = WRITERS[kind]
    sizes = {train: 30, validation: 8, test: 12}
    starts = dict(zip(sizes, (0, 30, 38), strict=True))
    members = {f"{name}.{kind}": write(labelled(size, starts[name])) for name, size in sizes.items()}
    done = make(zipped(members | {"README.md": b"words"}))
    assert split_sizes(done) == (30, 8, 12)
    assert [column.name for column in done.spec.columns] == ["a", "b"]
    assert codes(done) <= {WarningCode.FEW_ROWS}
    reason = next(item for item in done.report.decisions if item.field == "files")
    assert f"{test}.{kind} is test" in reason.reason
    # What is read is what the same rows in one file are, in the order of the names of the files.
    together = [row for name in sorted(sizes) for row in labelled(sizes[name], starts[name])]
    alone = make(write(together))
    np.testing.assert_array_equal(done.array("inputs"), alone.array("inputs"))
    np.testing.assert_array_equal(done.array("targets"), alone.array("targets"))
    assert reason.option == 'columns={"split": "ignored"}'
    assert make(zipped(members), columns={"split": "ignored"}).spec.rows == alone.spec.rows


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "names", [("part-0001", "part-0002"), ("2019", "2020"), ("train1", "train2"), ("rows_a", "rows_b")]
)
def test_files_of_the_same_columns_are_parts_of_one_table(make: Preparer, kind: str, names: tuple[str, str]) -> None:
    write = WRITERS[kind]
    done = make(zipped({f"d/{name}.{kind}": write(labelled(20, 20 * k)) for k, name in enumerate(names)}))
    alone = make(write(labelled(40)))
    assert (done.spec, codes(done)) == (alone.spec, codes(alone))
    np.testing.assert_array_equal(done.array("split"), alone.array("split"))
    assert done.decision("files") == f"d/{names[0]}.{kind}, d/{names[1]}.{kind}"


def test_names_that_may_say_something_of_the_rows_warn(make: Preparer) -> None:
    done = make(zipped({"wine-red.csv": csv(labelled(20)), "wine-white.csv": csv(labelled(20, 20))}))
    assert done.report.rows.kept == 40
    assert "wine-red.csv, wine-white.csv" in done.warning(WarningCode.FILES_JOINED).message


@pytest.mark.parametrize("kind", WRITERS)
def test_a_test_file_without_the_label_names_it_and_has_rows_without_labels(make: Preparer, kind: str) -> None:
    write = WRITERS[kind]
    train = rows(40, Survived=lambda k: "ny"[k % 3 % 2])
    members = {f"train.{kind}": write(train), f"test.{kind}": write(rows(12, 40))}
    members |= {f"sample_submission.{kind}": write(rows(12)), "data_description.txt": b"words"}
    done = make(zipped(members))
    assert [target.name for target in done.spec.targets] == ["Survived"]
    assert done.decision("columns.Survived") == "target"
    assert split_sizes(done) == (32, 4, 4)
    assert done.warning(WarningCode.UNLABELLED_REMOVED).count == 12
    assert split_sizes(make(zipped(members), unlabelled="keep")) == (44, 4, 4)
    members |= {f"valid.{kind}": write(rows(10, 60, Survived=lambda k: "ny"[k % 2]))}
    assert split_sizes(make(zipped(members))) == (40, 10, 0)


def test_several_columns_that_a_test_file_lacks_are_targets_if_the_user_says_so(
    make: Preparer, refused: Refuser
) -> None:
    train = rows(40, casual=lambda k: k * 7 % 11, registered=lambda k: k * 5 % 13)
    members = zipped({"train.csv": csv(train), "test.csv": csv(rows(12, 40))})
    message = refused(Code.MIXED_LAYOUT, members).message
    assert "casual, registered are only in 'train.csv'" in message
    done = make(members, columns={"casual": "target", "registered": "target"})
    assert [target.name for target in done.spec.targets] == ["casual", "registered"]
    assert make(members, columns={"casual": "ignored"}).spec.targets[0].name == "registered"


def test_a_column_that_a_test_file_lacks_is_no_target_next_to_a_label(refused: Refuser) -> None:
    train = rows(40, label=lambda k: "xy"[k % 2], note=lambda k: f"n{k % 5}")
    error = refused(Code.MIXED_LAYOUT, zipped({"train.csv": csv(train), "test.csv": csv(labelled(12))}))
    assert error.errors[0].loc == ("note",)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"one.csv": labelled(9), "two.csv": rows(9, price=lambda k: k)},
            "label is only in 'one.csv'; price is only in",
        ),
        ({"train.csv": labelled(9), "test.csv": labelled(8), "all.csv": labelled(7)}, "leave out the others"),
        ({"X_train.csv": rows(9), "y_train.csv": labelled(9), "X_test.csv": rows(8)}, "not all are alike"),
        ({"train.csv": labelled(9), "train (1).csv": labelled(9)}, "hold the same"),
        ({"train.csv": labelled(9), "train.parquet": labelled(9)}, "different formats"),
        ({"walk/1.csv": labelled(9), "run/1.csv": labelled(8)}, "with a column for what the folders say"),
        ({"year=2019/0.csv": labelled(9), "year=2020/0.csv": labelled(8)}, "with a column for what the folders say"),
    ],
)
def test_tables_that_are_no_splits_or_parts_are_refused_with_what_to_do(
    refused: Refuser, members: dict[str, Rows], words: str
) -> None:
    files = {name: WRITERS[name.rpartition(".")[2]](table) for name, table in members.items()}
    assert words in refused(Code.MIXED_LAYOUT, zipped(files)).message


def test_faults_name_the_file(refused: Refuser) -> None:
    uneven = zipped({"train.csv": csv(labelled(9)), "test.csv": b"a,b,label\n1,u,x\n2,3,4,5\n"})
    assert refused(Code.RAGGED_ROWS, uneven).message.startswith("'test.csv': ")
    other = zipped({"train.jsonl": jsonl(labelled(9)), "test.jsonl": jsonl(rows(9, a=str, label=str))})
    assert "numbers in 'train.jsonl'" in refused(Code.MIXED_TYPES, other).message
    no_train = zipped({"val.csv": csv(labelled(9)), "test.csv": csv(labelled(8))})
    assert "add it" in refused(Code.BAD_SPLIT, no_train).message


def test_warnings_name_the_file_and_count_rows_through(make: Preparer) -> None:
    parts = {
        "part1.csv": csv(labelled(20)),
        "part2.csv": csv([*labelled(20, 20), {"a": 99, "b": "Total", "label": "x"}]),
    }
    warning = make(zipped(parts)).warning(WarningCode.TOTAL_ROW)
    assert warning.message.startswith("part2.csv: ")
    assert warning.rows == (40,)


def test_series_and_images_of_several_files_are_joined(make: Preparer, refused: Refuser) -> None:
    series = {
        f"{name}.jsonl": jsonl([{"ecg": list(range(k % 3 + length)), "label": "xy"[k % 2]} for k in range(count)])
        for name, length, count in (("train", 4, 20), ("test", 6, 9))
    }
    done = make(zipped(series))
    assert (done.spec.modality, done.spec.shape, split_sizes(done)) == ("series", (8, 1), (20, 0, 9))
    lengths = (~np.isnan(done.array("inputs")[:, :, 0])).sum(axis=1)
    assert lengths.tolist() == [k % 3 + 6 for k in range(9)] + [k % 3 + 4 for k in range(20)]

    def images(count: int, start: int, size: int = 8) -> bytes:
        table = [
            {"image": {"bytes": picture(k, size=(size, size)), "path": None}, "label": k % 2}
            for k in range(start, start + count)
        ]
        return parquet(table)

    shards = {"train-0-of-2.parquet": images(10, 0), "train-1-of-2.parquet": images(9, 10)}
    pictures = make(zipped(shards | {"test-0-of-1.parquet": images(8, 30)}))
    assert (pictures.spec.modality, split_sizes(pictures)) == ("image", (19, 0, 8))
    other = zipped(shards | {"test-0-of-1.parquet": images(8, 30, 12)})
    assert "image=" in refused(Code.BAD_IMAGE, other).message
    assert make(other, image={"height": 8, "width": 8}).spec.rows == pictures.spec.rows
