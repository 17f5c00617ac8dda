"""Rows without a label: kept for learning without labels where most are such rows, or the user says so; in train."""

from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code
from app.datasets.frames import Frame
from app.datasets.frames.digests import digest_rows
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.assignment import assign_splits
from app.datasets.splits.earlier import EarlierDataset
from app.ml.spec import TargetSpec

from .conftest import Preparer, Refuser, npz

LABELLED = "".join(f"{i / 4},{i * 7 % 31},{'xy'[i % 2]}\n" for i in range(60))
CSV = "a,b,label\n" + LABELLED + "".join(f"{i / 4},{i * 7 % 31},\n" for i in range(60, 200))


def test_they_are_kept_where_most_rows_lack_a_label(make: Preparer) -> None:
    done = make(CSV)
    assert done.report.rows.kept == 200
    assert done.decision("unlabelled") == "keep"
    assert done.says("140 of 200 rows have no value for label; they are kept, in train")
    assert done.report.warnings == ()
    assert make(CSV, unlabelled="remove").report.rows.kept == 60


def test_a_few_are_removed_with_a_warning(make: Preparer) -> None:
    few = "a,b,label\n" + LABELLED + "90,1,\n91,2,\n"
    done = make(few)
    assert done.report.rows.removed["missing_target"] == 2
    assert done.decision("unlabelled") == "remove"
    warning = done.warning("unlabelled_removed")
    assert (warning.count, warning.rows) == (2, (60, 61))
    assert 'unlabelled = "keep"' in str(warning.remedy)
    assert make(few, unlabelled="remove").report.warnings == ()


WAYS: dict[str, dict[str, Any]] = {
    "given": {"columns": {"where": "split"}},
    "time": {"columns": {"a": "time"}},
    "content": {"columns": {"where": "ignored"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_they_are_in_train_however_rows_are_split(make: Preparer, way: str) -> None:
    """Those are the latest, too; test is of labelled rows all the same."""
    text = "a,b,where,label\n" + "".join(
        f"{k},{k * 7 % 31},{('train', 'validation', 'test')[k % 3]},{'xy'[k % 2] if k < 60 else ''}\n"
        for k in range(200)
    )
    done = make(text, **WAYS[way])
    split, targets = done.array("split"), done.array("targets")[:, 0]
    assert set(split[np.isnan(targets)]) == {0}
    assert set(split[~np.isnan(targets)]) == {0, 1, 2}
    assert done.says("evaluate nothing and are in train") == (way == "given")


def test_they_are_where_the_labelled_rows_of_their_group_are(make: Preparer) -> None:
    text = "who,a,label\n" + "".join(
        f"p{k % 25},{k},{'xy'[k % 2] if k % 25 < 20 and k < 150 else ''}\n" for k in range(400)
    )
    done = make(text, columns={"who": "group"})
    who, split, labelled = done.array("rows") % 25, done.array("split"), ~np.isnan(done.array("targets")[:, 0])
    assert all(len(set(split[who == group])) == 1 for group in range(25))
    assert set(split[who >= 20]) == {0}
    assert set(split[labelled]) == {0, 1, 2}


def test_they_leave_the_splits_of_an_earlier_dataset(make: Preparer) -> None:
    """A dataset without targets had them in every split; a version of it that has one puts them into train."""
    targets = np.where(np.arange(300) < 60, np.arange(300) % 2, np.nan)[:, None]
    inputs = np.arange(300.0)[:, None]
    spec = TargetSpec(name="label", type="category", classes=("x", "y"))
    rows = Frame("table", inputs, (), targets, (spec,), np.arange(300), None, None)
    digests = digest_rows(inputs)
    earlier = EarlierDataset("ds_" + "0" * 32, digests, (np.arange(300) % 3).astype(np.uint8), np.arange(300))
    split = assign_splits(rows, digests, PrepareOptions(), Notes(), earlier)
    np.testing.assert_array_equal(split, np.where(np.arange(300) < 60, np.arange(300) % 3, 0))


def test_kept_ones_are_in_train_alone(make: Preparer) -> None:
    done = make(CSV, unlabelled="keep")
    targets, split = done.array("targets")[:, 0], done.array("split")
    assert done.spec.rows == {"train": 188, "validation": 6, "test": 6}
    assert done.spec.labelled == {"label": {"train": 48, "validation": 6, "test": 6}}
    assert set(split[np.isnan(targets)]) == {0}
    assert done.says("140 of 200 rows have no value for label; they are kept")


def test_labelled_rows_split_as_if_the_others_were_not_there(make: Preparer) -> None:
    alone, together = make("a,b,label\n" + LABELLED), make(CSV, unlabelled="keep")
    assert together.array("split")[:60].tolist() == alone.array("split").tolist()


@pytest.mark.parametrize(("words", "classes"), [(["cat", "none"], ("8", "cat")), (["7", "-1"], ("7", "8"))])
def test_a_value_may_stand_for_no_label(make: Preparer, words: list[str], classes: tuple[str, ...]) -> None:
    text = "a,b,label\n" + "".join(f"{i},{i},{words[i % 4 == 0] if i % 2 == 0 else '8'}\n" for i in range(40))
    done = make(text, unlabelled_value=words[1], unlabelled="keep")
    assert done.spec.targets[0].classes == classes
    assert np.isnan(done.array("targets")).sum() == 10
    assert done.says(f"target label: 10 rows hold {words[1]!r}, which unlabelled_value calls no label")


def test_minus_one_is_a_class_unless_the_user_says_otherwise(make: Preparer) -> None:
    archive = npz(x=np.arange(40.0).reshape(20, 2), y=np.arange(20) % 3 - 1)
    assert make(archive).spec.targets[0].classes == ("-1", "0", "1")
    done = make(archive, unlabelled_value="-1", unlabelled="keep")
    assert done.spec.targets[0].classes == ("0", "1")
    assert sum(done.spec.labelled["label"].values()) == 13


def test_all_unlabelled_is_refused(refused: Refuser) -> None:
    refused(Code.BAD_TARGET, "a,label\n1,\n2,\n", unlabelled="keep")
