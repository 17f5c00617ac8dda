"""Cleaning: what goes, what stays, and an account that adds up."""

import numpy as np

from app.datasets.errors import Code
from app.datasets.frames.digests import digest_rows
from app.datasets.limits import Limits

from .conftest import Outcome, Preparer, Refuser, npy, npz

IMAGES = np.random.default_rng(1).integers(0, 256, (40, 4, 4), dtype=np.uint8)
LABELS = np.arange(40) % 4


def balanced(done: Outcome) -> bool:
    rows = done.report.rows
    return rows.read == rows.kept + sum(rows.removed.values())


def test_exact_duplicates_leave_the_first(make: Preparer) -> None:
    x = np.concatenate([IMAGES, IMAGES[:8], IMAGES[:2]])
    done = make(npz(x=x, y=np.concatenate([LABELS, LABELS[:8], LABELS[:2]])))
    assert done.report.rows.removed["duplicate"] == 10
    assert balanced(done)
    assert done.array("rows").tolist() == list(range(40))
    removal = done.report.removals[0]
    assert (removal.row, removal.reason, removal.detail) == (40, "duplicate", "the same as row 0")
    assert [item.row for item in done.report.removals] == list(range(40, 50))


def test_images_with_as_many_of_one_label_as_of_another_all_go(make: Preparer) -> None:
    x = np.concatenate([IMAGES, IMAGES[:3], IMAGES[:1]])
    file = npz(x=x, y=np.concatenate([LABELS, LABELS[:3] + np.array([1, 0, 1]), [0]]))
    done = make(file)
    removed = {reason: count for reason, count in done.report.rows.removed.items() if count}
    assert removed == {"conflicting_labels": 3, "duplicate": 2}, "0 has two votes of three, 2 has one of two"
    assert balanced(done)
    assert sorted(item.row for item in done.report.removals) == [2, 40, 41, 42, 43]
    none = make(file, cleaning=[{"kind": "duplicates", "conflicting": "remove"}])
    assert sorted(item.row for item in none.report.removals) == [0, 2, 40, 41, 42, 43]


def test_rows_of_a_table_may_contradict_each_other(make: Preparer) -> None:
    text = "a,b,label\n" + "".join(f"{i % 3},{i % 2},{'xy'[i // 6 % 2]}\n" for i in range(24))
    done = make(text, duplicates="remove")
    assert done.report.rows.removed["duplicate"] == 12
    assert done.report.rows.removed["conflicting_labels"] == 0
    assert done.says("24 rows have the same inputs as others and other targets")
    for kept in (make(text, duplicates="keep"), make(text)):
        assert kept.report.rows.kept == 24
        assert kept.says("18 rows repeat")


def test_one_target_removes_rows_that_lack_it(make: Preparer) -> None:
    y = LABELS.astype(np.float64)
    y[[3, 9]] = np.nan
    done = make(npz(x=IMAGES, y=y))
    assert done.report.rows.removed["missing_target"] == 2
    assert [item.row for item in done.report.removals] == [3, 9]
    assert not np.isnan(done.array("targets")).any()


def test_of_repeated_images_the_best_labelled_stays(make: Preparer) -> None:
    y = np.stack([LABELS % 2, LABELS / 3], axis=1)
    partly = y[:4].copy()
    y[:4, 1] = np.nan
    done = make(npz(x=np.concatenate([IMAGES, IMAGES[:4]]), y=np.concatenate([y, partly])))
    assert [item.row for item in done.report.removals] == [0, 1, 2, 3]


def test_nothing_left_is_said(make: Preparer, refused: Refuser) -> None:
    x = np.concatenate([IMAGES[:2], IMAGES[:2]])
    refused(Code.EMPTY_DATASET, npz(x=x, y=np.array([0, 1, 1, 0])))


def test_classes_that_cleaning_removes_are_gone(make: Preparer) -> None:
    x = np.concatenate([IMAGES[:9], IMAGES[:1]])
    y = np.array([5, 1, 2, 1, 2, 1, 2, 1, 2, 6])
    done = make(npz(x=x, y=y))
    assert done.spec.targets[0].classes == ("1", "2")
    assert set(done.array("targets")[:, 0]) == {0, 1}
    assert done.says("no row of 5, 6")


def test_counts_stay_exact_where_the_list_ends(make: Preparer) -> None:
    done = make(npy(np.concatenate([IMAGES, IMAGES])), Limits(removals_listed=5))
    assert len(done.report.removals) == 5
    assert done.report.rows.removed["duplicate"] == 40


def test_a_class_of_one_row_is_noticed(make: Preparer) -> None:
    y = LABELS.copy()
    y[0] = 9
    done = make(npz(x=IMAGES, y=y))
    assert done.says("1 classes have one row")
    assert done.array("split")[0] == 0


def test_digests_know_no_sign_of_zero_and_one_nan() -> None:
    other_nan = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    rows = np.array([[0.0, np.nan], [-0.0, other_nan], [1.0, np.nan]], np.float32)
    digests = digest_rows(rows)
    assert (digests[0] == digests[1]).all()
    assert (digests[0] != digests[2]).any()


def test_profile_of_the_kept_rows(make: Preparer) -> None:
    done = make("a,s,label\n1,x,p\n2,y,q\n3,x,p\n6,x,p\n")
    number, category = done.report.columns
    assert (number.count, number.missing, number.min, number.max, number.mean, number.distinct) == (4, 0, 1, 6, 3, 4)
    assert number.std == np.std([1, 2, 3, 6])
    assert category.top == {"x": 3, "y": 1}
    counts = done.report.targets[0].classes
    assert {name: sum(per_split.values()) for name, per_split in counts.items()} == {"p": 3, "q": 1}
