"""Folders and names of files that may mean something else than they seem to: refused or reported, with the way out."""

import io
import json
import tarfile

import pytest

from app.datasets.errors import Code
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser, picture, zipped
from .samples import classes, split_sizes
from .samples import folders_of_texts as texts


def test_a_table_that_names_the_files_of_a_split_without_labels_is_reported(make: Preparer) -> None:
    members = {f"train/{name}/{k}.png": picture(k + 20 * (name == "dog")) for name in ("cat", "dog") for k in range(12)}
    members |= {f"val/v{k}.png": picture(60 + k) for k in range(6)}
    table = "file,label\n" + "".join(f"v{k}.png,{('cat', 'dog')[k % 2]}\n" for k in range(6))
    done = make(zipped(members | {"val_labels.csv": table.encode()}))
    assert "val_labels.csv" in done.warning(WarningCode.FILES_NOT_READ).message
    assert split_sizes(done) == (20, 2, 2)
    given = make(zipped(members), folders=["split", "label"])
    assert split_sizes(given) == (24, 0, 0)


def test_a_table_of_other_labels_than_the_folders_is_reported(make: Preparer) -> None:
    members = {f"photos_part_{k % 2}/ISIC_{k:03}.png": picture(k) for k in range(20)}
    table = "image_id,dx\n" + "".join(f"ISIC_{k:03},{('nevus', 'melanoma')[k % 3 % 2]}\n" for k in range(20))
    done = make(zipped(members | {"metadata.csv": table.encode()}))
    assert classes(done) == ("photos_part_0", "photos_part_1")
    warning = done.warning(WarningCode.FILES_NOT_READ)
    assert "metadata.csv" in warning.message
    assert 'folders=["ignored"]' in str(warning.remedy)
    assert classes(make(zipped(members | {"metadata.csv": table.encode()}), folders=["ignored"])) == (
        "melanoma",
        "nevus",
    )
    same = "path\n" + "".join(f"photos_part_{k % 2}/ISIC_{k:03}.png\n" for k in range(20))
    sound = make(zipped(members | {"files.csv": same.encode()}))
    assert WarningCode.FILES_NOT_READ not in [item.code for item in sound.report.warnings]


@pytest.mark.parametrize("around", ["", "train/"])
def test_images_and_their_masks_are_no_classes(make: Preparer, refused: Refuser, around: str) -> None:
    members = {
        f"{around}{kind}/{k}.png": picture(k + 50 * (kind == "masks")) for kind in ("images", "masks") for k in range(9)
    }
    if around:
        members |= {
            f"test/{kind}/{k}.png": picture(k + 100 + 50 * (kind == "masks"))
            for kind in ("images", "masks")
            for k in range(5)
        }
    message = refused(Code.MIXED_LAYOUT, zipped(members)).message
    option = 'folders=["split", "label"]' if around else 'folders=["label"]'
    assert option in message
    assert classes(make(zipped(members), folders=json.loads(option.partition("=")[2]))) == ("images", "masks")
    apart = {
        f"{kind}/{kind}{k}.png": picture(k + 50 * (kind == "text")) for kind in ("picture", "text") for k in range(9)
    }
    assert classes(make(zipped(apart))) == ("picture", "text")


def test_splits_in_folders_of_which_each_holds_the_classes_are_refused(make: Preparer, refused: Refuser) -> None:
    members = zipped(
        texts(*(f"{s}/{t}/{c}" for s in ("site1", "site2") for t in ("train", "test") for c in ("run", "walk")))
    )
    message = refused(Code.MIXED_LAYOUT, members).message
    for levels, labels in ((["ignored", "split", "label"], ("run", "walk")), (["label", "split"], ("site1", "site2"))):
        assert f"folders={json.dumps(levels)}" in message
        assert classes(make(members, folders=levels)) == labels


def test_labelled_next_to_unlabelled_is_no_class(make: Preparer) -> None:
    members = texts("train/labelled/neg", "train/labelled/pos", "train/unlabelled", "test/neg", "test/pos")
    done = make(zipped(members))
    assert (classes(done), split_sizes(done)) == (("neg", "pos"), (9, 0, 6))
    assert classes(make(zipped(texts("labelled", "other")))) == ("labelled", "other")


@pytest.mark.parametrize(
    ("names", "warns"),
    [
        ("{0}.{1}.png", True),
        ("pets/{0}_{1:03}.png", True),
        ("train/{0}{1}.png", True),
        ("img_{1}.png", False),
        ("{1}_{0}.png", False),
        ("{0}s/{1}.png", False),
    ],
)
def test_names_that_perhaps_hold_the_labels_are_reported(make: Preparer, names: str, warns: bool) -> None:
    members = {names.format(("cat", "dog")[k % 2], k): picture(k) for k in range(12)}
    if names.startswith("train/"):
        members |= {f"test/{k}.png": picture(k + 20) for k in range(4)}
    codes = [item.code for item in make(zipped(members)).report.warnings]
    assert (WarningCode.LABELS_IN_NAMES in codes) == warns


def test_images_that_cannot_be_opened_are_reported(make: Preparer) -> None:
    members = {f"{('cat', 'dog')[k % 2]}/{k:02}.png": picture(k) for k in range(30)}
    done = make(zipped(members | {"cat/page.jpg": b"<html>not found</html>", "dog/00.png": picture(3)[:60]}))
    warning = done.warning(WarningCode.UNREADABLE_FILES)
    assert (warning.count, done.report.rows.kept) == (2, 30)
    assert "cat/page.jpg" in warning.message


def test_a_tar_archive_is_refused_as_one(refused: Refuser) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a/1.png"))
    assert "pack the files as zip" in refused(Code.UNSUPPORTED_FORMAT, buffer.getvalue()).message
