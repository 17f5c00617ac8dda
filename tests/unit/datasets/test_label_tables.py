"""Labels in a table beside pictures or texts: by path, name or name without ending, where they name nearly all."""

import json

import pytest

from app.ml.spec import SPLITS, WarningCode

from .conftest import Outcome, Preparer, picture, zipped

COUNT = 24


def pictures(*folders: str) -> dict[str, bytes]:
    """COUNT pictures, dealt to the folders."""
    return {f"{folders[k % len(folders)]}/{k}.png": picture(k) for k in range(COUNT)}


def lines(header: str, line: str, count: int = COUNT) -> bytes:
    rows = (line.format(k=k, name="ab"[k % 2], number=k * 0.37) for k in range(count))
    return f"{header}\n".encode() + "\n".join(rows).encode()


def labels(done: Outcome) -> list[str]:
    """The classes of all rows, in the order of the names of their files."""
    (target,) = done.spec.targets
    return [target.classes[int(code)] for code in done.array("targets")[:, 0]]


RIGHT = ["ab"[k % 2] for k in sorted(range(COUNT), key=lambda k: f"images/{k}.png")]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("labels.csv", lines("filename,label", "{k}.png,{name}")),
        ("train.csv", lines("id,breed", "{k},{name}")),
        ("a/labels.tsv", lines("image_path\tclass", "images/{k}.png\t{name}")),
        ("labels.csv", lines("file;kind", "images\\{k}.PNG;{name}")),
        ("labels.csv", lines(",path,label", "{k},/home/me/images/{k}.png,{name}")),
        ("images/metadata.jsonl", lines("", '{{"file_name": "{k}.png", "label": "{name}"}}')),
        ("images/metadata.jsonl", lines("", '{{"image_id": {k}, "label": "{name}"}}')),
    ],
)
def test_a_table_that_names_the_pictures_labels_them(make: Preparer, name: str, table: bytes) -> None:
    done = make(zipped({**pictures("images"), name: table, "README.md": b"about"}))
    assert labels(done) == RIGHT
    (decision,) = (item for item in done.report.decisions if item.field == "labels")
    assert decision.value == name
    assert decision.option == f'columns={{"{done.spec.targets[0].name}": "ignored"}}'
    assert not [item for item in done.report.warnings if item.code == WarningCode.FILES_NOT_READ]


def test_the_option_of_the_decision_leaves_the_labels_out(make: Preparer) -> None:
    done = make(
        zipped({**pictures("images"), "l.csv": lines("f,breed", "{k}.png,{name}")}), columns={"breed": "ignored"}
    )
    assert done.spec.targets == ()


def test_a_column_of_paths_wins_over_one_that_counts(make: Preparer) -> None:
    table = lines("row,path,label", "{k},images/{k}.png,{name}").decode().splitlines()
    shifted = [table[0], *(f"{k},{line.partition(',')[2]}" for k, line in enumerate(reversed(table[1:])))]
    assert labels(make(zipped({**pictures("images"), "l.csv": "\n".join(shifted).encode()}))) == RIGHT


def test_numbers_in_the_table_are_a_regression(make: Preparer) -> None:
    done = make(zipped({**pictures("images"), "l.csv": lines("file,label", "{k}.png,{number}")}))
    assert done.spec.targets[0].type == "number"


def test_several_columns_of_labels_are_asked_for(make: Preparer) -> None:
    members = {**pictures("images"), "l.csv": lines("file,rust,scab", "{k}.png,{name},{name}")}
    done = make(zipped(members))
    warning = done.warning(WarningCode.FILES_NOT_READ)
    assert done.spec.targets == ()
    assert warning.remedy is not None
    assert 'columns={"rust": "target"}' in warning.remedy
    chosen = make(zipped(members), columns={"rust": "target", "scab": "target"})
    assert [target.name for target in chosen.spec.targets] == ["rust", "scab"]


def test_tables_of_each_split_are_read_as_one(make: Preparer) -> None:
    names = {"train": [k for k in range(COUNT) if k % 3], "test": [k for k in range(COUNT) if not k % 3]}
    members = {f"{split}/{place}.png": picture(k) for split, ks in names.items() for place, k in enumerate(ks)}
    for split, ks in names.items():
        rows = [json.dumps({"file_name": f"{place}.png", "label": "ab"[k % 2]}) for place, k in enumerate(ks)]
        members[f"{split}/metadata.jsonl"] = "\n".join(rows).encode()
    done = make(zipped(members))
    assert [done.spec.rows[split] for split in SPLITS] == [16, 0, 8]
    assert labels(done) == ["ab"[k % 2] for split in ("test", "train") for _, k in by_name(names[split])]


def by_name(ks: list[int]) -> list[tuple[int, int]]:
    """Places and numbers in the order of the names of their files."""
    return sorted(enumerate(ks), key=lambda item: f"{item[0]}.png")


def test_answers_to_a_competition_are_no_labels(make: Preparer) -> None:
    members = {f"{'train' if k < 18 else 'test'}/{k}.png": picture(k) for k in range(COUNT)}
    members["train.csv"] = lines("id,label", "{k},{name}", 18)
    members["sample_submission.csv"] = b"id,label\n" + b"".join(b"%d,a\n" % k for k in range(18, COUNT))
    done = make(zipped(members))
    assert [done.spec.rows[split] for split in SPLITS] == [18, 0, 0]
    assert done.warning(WarningCode.UNLABELLED_REMOVED).count == 6


@pytest.mark.parametrize(
    "table",
    [
        lines("file,label", "{k}.png,{name}", COUNT // 2),
        lines("file,label", "{k}.png,{name}") + b"\n" + lines("0.png,a", "{k}.png,{name}"),
    ],
)
def test_half_of_the_pictures_or_several_rows_of_one_only_warn(make: Preparer, table: bytes) -> None:
    done = make(zipped({**pictures("images"), "boxes.csv": table}))
    assert done.spec.targets == ()
    assert done.warning(WarningCode.FILES_NOT_READ)


def test_two_tables_that_name_the_same_pictures_only_warn(make: Preparer) -> None:
    tables = {f"{rater}.csv": lines("file,label", f"{{k}}.png,{rater}") for rater in ("first", "second")}
    done = make(zipped({**pictures("images"), **tables}))
    assert done.spec.targets == ()
    assert done.warning(WarningCode.FILES_NOT_READ)


def test_folders_of_classes_come_before_a_table(make: Preparer) -> None:
    done = make(zipped({**pictures("cat", "dog"), "l.csv": lines("file,label", "{k}.png,{name}")}))
    assert done.spec.targets[0].classes == ("cat", "dog")


def test_a_table_labels_texts_too(make: Preparer) -> None:
    documents = {f"docs/{k}.txt": f"the {k}th text".encode() for k in range(COUNT)}
    done = make(zipped({**documents, "labels.csv": lines("doc,topic", "{k}.txt,{name}")}))
    assert done.spec.modality == "text"
    assert labels(done) == RIGHT


def test_tables_called_train_and_test_are_splits(make: Preparer) -> None:
    members = {f"images/{k}.png": picture(k) for k in range(30)}
    tables = {
        name: "image,label\n" + "".join(f"{k}.png,{'xy'[k % 2]}\n" for k in rows)
        for name, rows in (("train.csv", range(20)), ("test.csv", range(20, 30)))
    }
    done = make(zipped(members | {name: text.encode() for name, text in tables.items()}))
    assert done.spec.rows == {"train": 20, "validation": 0, "test": 10}
    (decision,) = (item for item in done.report.decisions if item.field == "split")
    assert decision.option == 'columns={"split": "ignored"}'
    assert make(
        zipped(members | {name: text.encode() for name, text in tables.items()}), columns={"split": "ignored"}
    ).spec.rows == {"train": 24, "validation": 3, "test": 3}


def test_files_that_are_called_unlabelled_need_no_label_in_a_table(make: Preparer) -> None:
    members = {
        f"{folder}/{k}.png": picture(k + 20 * (folder == "unlabelled"))
        for folder in ("all", "unlabelled")
        for k in range(16)
    }
    table = "file,label\n" + "".join(f"{k}.png,{'xy'[k % 2]}\n" for k in range(16))
    done = make(zipped(members | {"labels.csv": table.encode()}))
    assert done.spec.targets[0].classes == ("x", "y")
    assert sum(done.spec.labelled["label"].values()) == 16
    assert sum(done.spec.rows.values()) == 32
