"""Rows without a label: removed by default, kept for learning without labels where the user says so."""

import numpy as np
import pytest

from app.datasets.errors import Code

from .conftest import Preparer, Refuser, npz

LABELLED = "".join(f"{i},{i * 7 % 31},{'xy'[i % 2]}\n" for i in range(60))
CSV = "a,b,label\n" + LABELLED + "".join(f"{i},{i * 7 % 31},\n" for i in range(60, 200))


def test_they_are_removed_by_default(make: Preparer) -> None:
    done = make(CSV)
    assert done.report.rows.kept == 60
    assert done.report.rows.removed["missing_target"] == 140


def test_kept_ones_are_in_train_alone(make: Preparer) -> None:
    done = make(CSV, unlabelled="keep")
    targets, split = done.array("targets")[:, 0], done.array("split")
    assert done.spec.rows == {"train": 188, "validation": 6, "test": 6}
    assert done.spec.labelled == {"label": {"train": 48, "validation": 6, "test": 6}}
    assert set(split[np.isnan(targets)]) == {0}
    assert done.says("140 rows have no value for label; they are kept")


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
