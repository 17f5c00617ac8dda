"""Folders as people have them: splits, wrappers, rows without labels, and what lies beside the rows."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.errors import Code, DatasetError
from app.datasets.readers.layouts import infer_layout, shared_folders
from app.datasets.readers.split_names import splits_of
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser, picture, zipped
from .samples import classes, split_sizes
from .samples import folders_of_texts as texts


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", None, "Testing"),
        ("TRAIN", "VALID", "TEST"),
        ("train", "dev", "test"),
        ("train", "eval", "test"),
        ("train", "validation", "eval"),
        ("train", None, "holdout"),
        ("train", "Validation", "hold-out"),
        ("X_train", "X_val", "X_test"),
        ("train_X", None, "test_X"),
        ("seg_train", None, "seg_test"),
        ("training_set", None, "test_set"),
        ("TrainImages", None, "TestImages"),
        ("train2017", "val2017", "test2017"),
        ("Training", None, "part B"),
        ("Bilder", None, "Testing"),
    ],
)
def test_folders_that_are_splits(make: Preparer, train: str, validation: str | None, test: str) -> None:
    sizes = {train: 4, validation: 2, test: 3}
    members = {
        f"{split}/{name}/{k}.txt": f"{split} {name} {k}".encode()
        for split, size in sizes.items()
        if split is not None
        for name in ("cat", "dog")
        for k in range(size)
    }
    for wrapper in ("", "data/", "chest/chest/"):
        done = make(zipped({f"{wrapper}{name}": data for name, data in members.items()}))
        assert classes(done) == ("cat", "dog")
        assert split_sizes(done) == (8, 4 if validation else 0, 6)
        assert done.decision("folders") == "split, label"
        assert not wrapper or done.decision("folder") == wrapper.rstrip("/")


@pytest.mark.parametrize(
    ("folders", "labels", "levels"),
    [
        (["cat", "dog"], ("cat", "dog"), "label"),
        (["a/a/cat", "a/a/dog"], ("cat", "dog"), "label"),
        (["train ride", "test drive"], ("test drive", "train ride"), "label"),
        (["train", "car", "bus"], ("bus", "car", "train"), "label"),
        (["valid", "invalid"], ("invalid", "valid"), "label"),
        (["test", "control"], ("control", "test"), "label"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], ("cat", "dog"), "label, split"),
        (["train/images/cat", "train/images/dog", "test/images/cat", "test/images/dog"], ("cat", "dog"), ""),
        (["train/train/cat", "train/train/dog", "test/test/cat", "test/test/dog"], ("cat", "dog"), "split, label"),
        (["animals/cat", "animals/dog", "plants/rose", "plants/fern"], ("animals", "plants"), "label"),
        (["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"], ("cat", "dog"), "ignored, label"),
        (["train1/cat", "train1/dog", "train2/cat", "train2/dog"], ("cat", "dog"), "ignored, label"),
        (["unlabelled", "cat", "dog"], ("cat", "dog"), "label"),
        (["train", "test"], (), "split"),
        (["only"], (), ""),
        (["unknown", "known"], ("known", "unknown"), "label"),
    ],
)
def test_folders_become_classes(make: Preparer, folders: list[str], labels: tuple[str, ...], levels: str) -> None:
    done = make(zipped(texts(*folders)))
    assert classes(done) == labels
    assert not levels or done.decision("folders") == levels


@pytest.mark.parametrize(
    "name",
    ["unlabelled", "unlabeled", "Unlabeled", "unsup", "un-labeled", "no_label", "unlabeled_images", "unknown_label"],
)
def test_folders_of_rows_without_labels(make: Preparer, name: str) -> None:
    flat = texts("cat", "dog", each=10) | texts(name, each=4)
    nested = texts("set/train/cat", "set/train/dog", "set/test/cat", "set/test/dog", each=5)
    for members in (flat, nested | texts(f"set/train/{name}"), nested | texts(f"set/{name}")):
        assert classes(make(zipped(members), unlabelled="remove")) == ("cat", "dog")
        kept = make(zipped(members), unlabelled="keep")
        assert classes(kept) == ("cat", "dog")
        unlabelled = kept.array("split")[kept.array("targets")[:, 0] != kept.array("targets")[:, 0]]
        assert len(unlabelled) in {3, 4}
        assert (unlabelled == 0).all()
        assert any(name in item.reason for item in kept.report.decisions if item.field == "folders")


def test_a_few_rows_of_a_folder_without_labels_are_kept_by_default(make: Preparer) -> None:
    """The person named the folder so: those rows are for learning without labels, however few they are."""
    members = texts("cat", "dog", each=20) | texts("unlabelled", each=5)
    done = make(zipped(members))
    assert split_sizes(done) == (37, 4, 4)
    assert done.spec.labelled["label"]["train"] == 32
    assert done.decision("unlabelled") == "keep"
    assert done.says("5 of 45 rows lie in folders that say that they have no label; they are kept, in train")
    assert WarningCode.UNLABELLED_REMOVED not in [item.code for item in done.report.warnings]
    assert make(zipped(members), unlabelled="remove").report.rows.kept == 40


def test_only_rows_of_that_folder_are_kept_by_its_name(make: Preparer) -> None:
    """A test set without labels does not say that it is for learning: the rule of all rows without a label holds."""
    members = texts("train/cat", "train/dog", each=20) | texts("test", "unlabelled", each=5)
    done = make(zipped(members))
    assert done.report.rows.removed["missing_target"] == 5
    assert done.warning(WarningCode.UNLABELLED_REMOVED).count == 5
    assert split_sizes(done) == (37, 4, 4)  # nothing else than train has labels, so that they are split anew


def test_splits_without_classes_hold_rows_without_labels(make: Preparer) -> None:
    members = texts(
        "seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea", "seg_test/seg_test/ice"
    )
    done = make(zipped(members | texts("seg_pred/seg_pred", each=4)), unlabelled="keep")
    assert (classes(done), split_sizes(done)) == (("ice", "sea"), (10, 0, 6))
    contest = make(zipped(texts("train/sea", "train/ice", "test")), unlabelled="keep")
    assert (classes(contest), split_sizes(contest)) == (("ice", "sea"), (7, 1, 1))


@pytest.mark.parametrize(
    ("larger", "smaller"), [("seen", "unseen"), ("B", "A"), ("2020", "2019"), ("unseen", "seen"), ("A", "B")]
)
def test_a_pair_of_folders_with_the_same_folders_are_splits_by_size(make: Preparer, larger: str, smaller: str) -> None:
    members = texts(f"set/{larger}/cat", f"set/{larger}/dog", each=12) | texts(
        f"set/{smaller}/cat", f"set/{smaller}/dog", each=4
    )
    done = make(zipped(members))
    assert (classes(done), split_sizes(done)) == (("cat", "dog"), (24, 0, 8))
    warning = done.warning(WarningCode.GUESSED_SPLITS)
    assert (
        f"{larger!r} (24 files) was taken for train, as the larger one, and {smaller!r} (8) for test" in warning.message
    )
    assert done.decision("folders") == "split, label"
    for option, labels in (
        ('["ignored", "label"]', {larger, smaller}),
        ('["ignored", "ignored", "label"]', {"cat", "dog"}),
    ):
        assert f"folders={option}" in str(warning.remedy)
        other = make(zipped(members), folders=json.loads(option))
        assert set(classes(other)) == labels
        assert WarningCode.GUESSED_SPLITS not in [item.code for item in other.report.warnings]


def test_options_count_folders_that_repeat_the_one_around_them(make: Preparer) -> None:
    members = texts("seen/seen/cat", "seen/seen/dog", each=12) | texts("unseen/unseen/cat", "unseen/unseen/dog", each=4)
    warning = make(zipped(members)).warning(WarningCode.GUESSED_SPLITS)
    assert 'folders=["ignored", "label"] where the outer ones are classes' in str(warning.remedy)
    assert set(classes(make(zipped(members), folders=["ignored", "label"]))) == {"seen", "unseen"}
    assert set(classes(make(zipped(members), folders=["ignored", "ignored", "label"]))) == {"cat", "dog"}


def test_of_an_equal_pair_the_first_by_name_is_train(make: Preparer) -> None:
    done = make(zipped(texts("run/left", "run/right", "walk/left", "walk/right", each=10)))
    assert (
        "'run' (20 files) was taken for train, as the first by name" in done.warning(WarningCode.GUESSED_SPLITS).message
    )
    assert split_sizes(done) == (20, 0, 20)


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (
            ["x/walk/left", "x/walk/right", "x/run/left", "x/run/right", "x/jump/left", "x/jump/right"],
            ("left", "right"),
        ),
        (["x/covid/images", "x/covid/masks", "x/normal/images", "x/normal/masks"], ("images", "masks")),
        (["x/cat/part1", "x/cat/part2", "x/dog/part1", "x/dog/part2"], ("part1", "part2")),
    ],
)
def test_folders_that_cannot_be_known_are_refused_with_both_ways_out(
    make: Preparer, refused: Refuser, folders: list[str], labels: tuple[str, ...]
) -> None:
    members = zipped(texts(*folders))
    message = refused(Code.MIXED_LAYOUT, members).message
    assert 'folders=["ignored", "ignored", "label"]' in message
    assert 'folders=["ignored", "label"]' in message
    assert classes(make(members, folders=["ignored", "ignored", "label"])) == labels
    assert classes(make(members, folders=["ignored", "label"])) == tuple(
        sorted({name.split("/")[1] for name in folders})
    )
    assert "folders=" in refused(Code.BAD_SPLIT, zipped(texts("val/a", "val/b", "test/a", "test/b"))).message


def test_the_user_says_what_folders_are(make: Preparer, refused: Refuser) -> None:
    members = zipped(texts("train/cat", "train/dog", "test/cat", "test/dog"))
    assert classes(make(members, folders=["label"])) == ("test", "train")
    assert split_sizes(make(members, folders=["split", "label"])) == (6, 0, 6)
    assert split_sizes(make(members, folders=["ignored", "label"])) == (10, 1, 1)
    assert classes(make(members, folders=["ignored"])) == ()
    other = zipped(texts("unlabelled", "cat"))
    assert classes(make(other, folders=["label"])) == ("cat", "unlabelled")
    assert "'cat' is no split" in refused(Code.BAD_SPLIT, other, folders=["split"]).message
    assert refused(Code.BAD_OPTION, "a,label\n1,x\n2,y\n", folders=["label"]).errors[0].loc == ("folders",)


def test_every_decision_says_how_to_overrule_it(make: Preparer) -> None:
    members = zipped(texts("w/train/cat", "w/train/dog", "w/test/cat", "w/test/dog"))
    (decision,) = (item for item in make(members).report.decisions if item.field == "folders")
    name, _, value = str(decision.option).partition("=")
    assert classes(make(members, **{name: json.loads(value)})) == ("test", "train")
    assert "'train' is train" in decision.reason


@pytest.mark.parametrize(
    "junk",
    [
        "cat/.ipynb_checkpoints/1-checkpoint.txt",
        ".ipynb_checkpoints/1-checkpoint.txt",
        ".git/objects/1.txt",
        "cat/@eaDir/1.txt",
        "cat/.thumbnails/1.txt",
        "__pycache__/1.txt",
        "__MACOSX/cat/._1.txt",
        "cat/.DS_Store",
        "dog/Thumbs.db",
        "desktop.ini",
        "$RECYCLE.BIN/1.txt",
    ],
)
def test_hidden_files_are_left_out_with_a_notice(make: Preparer, junk: str) -> None:
    for wrapper in ("", "set/"):
        members = texts("cat", "dog") | {junk: b"the 0th text of cat"}
        done = make(zipped({wrapper + name: data for name, data in members.items()}))
        assert (classes(done), done.report.rows.read) == (("cat", "dog"), 6)
        assert done.says(junk.rsplit("/", 1)[-1])


def test_a_hidden_folder_around_everything_hides_nothing(make: Preparer) -> None:
    assert classes(make(zipped(texts(".data/cat", ".data/dog")))) == ("cat", "dog")


@pytest.mark.parametrize(
    "beside",
    ["README", "README.md", "readme.txt", "LICENSE", "cat/LICENSE.txt", "metadata.json", "info.yaml", "x.html"],
)
def test_files_about_the_data_do_not_fail_the_upload(make: Preparer, beside: str) -> None:
    done = make(zipped(texts("reviews/cat", "reviews/dog") | {f"reviews/{beside}": b"words"}))
    assert (classes(done), done.report.rows.read) == (("cat", "dog"), 6)
    images = {f"{('cat', 'dog')[k % 2]}/{k}.png": picture(k) for k in range(6)}
    pictures = make(zipped(images | {beside: b"words"}))
    assert (classes(pictures), pictures.report.rows.read) == (("cat", "dog"), 6)
    assert all(outcome.says(beside) for outcome in (done, pictures))
    assert not [item for item in (*done.report.warnings, *pictures.report.warnings) if item.code == "files_not_read"]


def image_members(count: int) -> dict[str, bytes]:
    return {f"images/img{k:03}.png": picture(k) for k in range(count)}


@pytest.mark.parametrize("written", ["file,label\n{}", "{}"])
def test_labels_of_half_of_the_files_are_not_read_and_that_is_said(make: Preparer, written: str) -> None:
    rows = "\n".join(f"img{k:03}.png,{'cat' if k % 2 else 'dog'}" for k in range(6))
    done = make(zipped(image_members(8) | {"labels.csv": written.format(rows).encode()}))
    warning = done.warning(WarningCode.FILES_NOT_READ)
    assert "labels.csv" in warning.message
    assert "folder" in str(warning.remedy)
    assert done.spec.targets == ()
    other = make(zipped(image_members(8) | {"prices.csv": b"a,b\n1,2\n"}))
    assert WarningCode.FILES_NOT_READ not in [item.code for item in other.report.warnings]


def test_a_file_beside_each_image_is_reported(make: Preparer) -> None:
    members = image_members(6) | {f"labels/img{k:03}.txt": b"0 0.5 0.5 1 1" for k in range(6)}
    assert make(zipped(members)).warning(WarningCode.FILES_NOT_READ).count == 6


def test_a_few_files_beside_many_in_folders_are_left_out_with_a_warning(make: Preparer, refused: Refuser) -> None:
    many = texts("imdb/train/neg", "imdb/train/pos", "imdb/test/neg", "imdb/test/pos", each=30)
    loose = {"imdb/imdbEr.txt": b"0.1", "imdb/train/urls_pos.txt": b"http"}
    done = make(zipped(many | loose | {"imdb/README": b"x", "imdb/train/labeledBow.feat": b"1:2"}))
    assert (classes(done), split_sizes(done)) == (("neg", "pos"), (60, 0, 60))
    assert [item.count for item in done.report.warnings if item.code == WarningCode.FILES_NOT_READ] == [2]
    refused(Code.MIXED_LAYOUT, zipped(texts("cat", "dog") | {"loose.txt": b"x"}))


CSV = "".join(["a,label\n", *(f"{k},{'xy'[k % 2]}\n" for k in range(30))])


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": range(30), "label": ["x", "y"] * 15}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("table.csv", CSV.encode(), "csv"),
        ("table.tsv", CSV.replace(",", "\t").encode(), "csv"),
        ("rows.jsonl", "".join(f'{{"a": {k}, "label": {k % 2}}}\n' for k in range(30)).encode(), "jsonl"),
        ("rows.json", "".join(f'{{"a": {k}, "label": {k % 2}}}\n' for k in range(30)).encode(), "jsonl"),
        ("table.parquet", parquet(), "parquet"),
        ("book.txt", b"Once upon a time there was a king who had three daughters. " * 40, "text"),
    ],
)
def test_a_zip_of_one_file_is_read_as_that_file(make: Preparer, name: str, content: bytes, kind: str) -> None:
    options: dict[str, Any] = {"modality": "text"} if kind == "text" else {}
    alone = make(content, **options)
    packed = make(zipped({f"export/{name}": content, "export/README.md": b"words", "__MACOSX/._x": b"x"}), **options)
    assert (packed.report.source.format, packed.decision("file")) == (kind, f"export/{name}")
    assert packed.spec == alone.spec
    assert packed.array("split").tolist() == alone.array("split").tolist()


def test_archives_and_hidden_files_in_a_zip_are_refused(refused: Refuser) -> None:
    refused(Code.UNSUPPORTED_FORMAT, zipped({"inner.csv": zipped({"x.csv": b"a\n1\n"})}))
    refused(Code.EMPTY_DATASET, zipped({".hidden/1.png": picture(1), "Thumbs.db": b"x"}))


FOLDER = st.sampled_from(["train", "test", "X_val", "cat", "dog", "unsup", "fold1", "fold2", "a", "Test", "."])


@settings(max_examples=200)
@given(paths=st.lists(st.lists(FOLDER, max_size=4).map(tuple), min_size=1, max_size=30))
def test_any_folders_are_understood_or_refused(paths: list[tuple[str, ...]]) -> None:
    try:
        layout = infer_layout(paths, len(shared_folders(paths)))
    except DatasetError:
        return
    assert len(layout.labels) == len(paths) == len(layout.splits or paths)
    assert "" not in layout.labels


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "test1"], ["train", "test"]),
        (["x-train", "x-test", "y-test"], []),
        (["trainval", "test"], []),
        (["dev", "test"], ["validation", "test"]),
        (["train", "train2"], []),
        (["обучение", "тест"], []),
    ],
)
def test_names_of_splits(names: list[str], splits: list[str]) -> None:
    assert list(splits_of(names, alike=True).values()) == splits
