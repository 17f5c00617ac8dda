"""Splits by time, and splits that outlive a version of the data."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Frame
from app.datasets.frames.digests import digest_rows
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.assignment import are_usual, assign_splits, split_times
from app.datasets.splits.earlier import EarlierDataset
from app.ml.spec import TargetSpec

from .conftest import Preparer, Refuser

ROWS = np.random.default_rng(4).normal(size=(300, 3)).astype(np.float32)
DIGESTS = digest_rows(ROWS)
ID = "ds_" + "0" * 32


def frame(**fields: Any) -> Frame:
    count = fields.pop("count", 300)
    plain: dict[str, Any] = {"modality": "table", "inputs": ROWS[:count], "columns": (), "target_specs": ()}
    plain |= {"targets": np.empty((count, 0)), "rows": np.arange(count), "given_split": None, "groups": None}
    return Frame(**(plain | fields))


def assign(earlier: EarlierDataset | None = None, digests: Any = DIGESTS, **fields: Any) -> Any:
    return assign_splits(frame(**fields), digests, PrepareOptions(), Notes(), earlier)


def days(order: Any) -> str:
    rows = [f"2024-{1 + k // 28:02}-{1 + k % 28:02},{k * 7 % 100},{'ab'[k % 2]}" for k in order]
    return "day,size,label\n" + "\n".join(rows) + "\n"


def test_the_latest_rows_are_test(make: Preparer) -> None:
    order = np.random.default_rng(0).permutation(100)
    done = make(days(order), columns={"day": "time"})
    place = order[done.array("rows")]
    split = done.array("split")
    assert place[split == 0].max() < place[split == 1].min() <= place[split == 1].max() < place[split == 2].min()
    assert done.spec.rows == {"train": 80, "validation": 10, "test": 10}
    assert done.decision("splits") == "by time"
    assert [column.name for column in done.spec.columns] == ["size"]


@given(times=st.lists(st.integers(-5, 5), min_size=1, max_size=80))
def test_equal_times_stay_together_and_later_ones_never_train_before(times: list[int]) -> None:
    stamps = np.array(times, dtype=np.float64)
    split = split_times(stamps, PrepareOptions())
    assert (split == 0).any()
    later = np.argsort(stamps, kind="stable")
    assert (np.diff(split[later].astype(int)) >= 0).all()
    assert all(len(np.unique(split[stamps == value])) == 1 for value in set(times))


def test_a_time_and_a_group_are_one_too_many(refused: Refuser) -> None:
    table = "day,who,size,label\n" + "".join(f"2024-01-{k:02},p{k % 5},{k * k},{'ab'[k % 2]}\n" for k in range(1, 29))
    refused(Code.BAD_ROLES, table, columns={"day": "time", "who": "group"})


def test_known_rows_keep_their_split_and_new_ones_are_split_in_proportion() -> None:
    labels = (np.arange(300) % 3).astype(np.float64)[:, None]
    spec = TargetSpec(name="label", type="category", classes=("a", "b", "c"))
    targets = {"targets": labels, "target_specs": (spec,)}
    old = np.arange(0, 300, 2)
    kept = np.random.default_rng(0).integers(0, 3, 150).astype(np.uint8)
    split = assign(EarlierDataset(ID, DIGESTS[old], kept), **targets)
    np.testing.assert_array_equal(split[old], kept)
    fresh = split[1::2]
    for code in range(3):
        inside = fresh[labels[1::2, 0] == code]
        assert np.bincount(inside, minlength=3).tolist() == [40, 5, 5]


def test_a_row_in_several_splits_is_kept_out_of_train() -> None:
    twice = EarlierDataset(ID, np.concatenate([DIGESTS[:2]] * 3), np.array([0, 1, 2, 0, 1, 1], np.uint8))
    assert twice.splits_of(DIGESTS[:3], np.arange(3)).tolist() == [2, 1, -1]


def test_a_row_of_the_same_source_is_known_by_its_number_whatever_cleaning_made_of_it() -> None:
    numbers = np.array([7, 3, 5])
    same = EarlierDataset(ID, DIGESTS[numbers], np.array([2, 1, 0], np.uint8), numbers)
    changed = digest_rows(ROWS[[3, 5, 6, 7]] + 1)
    assert same.splits_of(changed, np.array([3, 5, 6, 7])).tolist() == [1, 0, -1, 2]
    repeated = DIGESTS[[7, 3]]  # rows 8 and 9 say what row 7 and 3 say
    assert same.splits_of(repeated, np.array([8, 9])).tolist() == [2, 1]


def test_a_group_follows_the_rows_of_it_that_are_known() -> None:
    groups = (np.arange(300) // 10).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    known = np.array([0, 10, 20], np.int64)
    split = assign(EarlierDataset(ID, DIGESTS[known], np.array([2, 1, 0], np.uint8)), groups=groups)
    assert (set(split[:10]), set(split[10:20]), set(split[20:30])) == ({2}, {1}, {0})
    assert all(len(set(split[k : k + 10])) == 1 for k in range(0, 300, 10))


def test_known_rows_keep_their_split_though_time_says_otherwise() -> None:
    split = assign(EarlierDataset(ID, DIGESTS[:1], np.array([2], np.uint8)), times=np.arange(300, dtype=np.float64))
    assert split[0] == 2
    assert (np.diff(split[1:].astype(int)) >= 0).all()


def test_one_can_see_that_nothing_was_found() -> None:
    notes = Notes()
    other = EarlierDataset(ID, digest_rows(ROWS + 1), np.zeros(300, np.uint8))
    split = assign_splits(frame(), DIGESTS, PrepareOptions(), notes, other)
    np.testing.assert_array_equal(split, assign())
    assert "no row is in" in notes.notices[0]


def test_what_cannot_be_is_refused() -> None:
    everything = EarlierDataset(ID, DIGESTS, np.full(300, 2, np.uint8))
    with pytest.raises(DatasetError) as nothing_left:
        assign(everything)
    assert nothing_left.value.code == Code.BAD_SPLIT
    with pytest.raises(DatasetError) as twice:
        assign(everything, given_split=np.zeros(300, np.uint8))
    assert twice.value.errors[0].loc == ("same_splits_as",)


def test_splits_are_usual_where_nobody_said_how_and_rows_are_drawn_one_by_one(make: Preparer) -> None:
    def usual(**options: Any) -> bool:
        return make(days(range(60)), **options).spec.usual_splits

    assert usual()
    assert usual(seed=1)
    assert not usual(splits={"train": 0.8, "validation": 0.1, "test": 0.1}), "the same shares, and somebody means them"
    assert not usual(columns={"day": "time"})
    assert not usual(columns={"label": "group", "size": "target"})
    file_says = days(range(60)).replace(",a", ",train").replace(",b", ",test")
    assert not make(file_says, columns={"label": "split"}).spec.usual_splits


@pytest.mark.parametrize("usual", [True, False])
def test_a_dataset_that_keeps_the_splits_of_another_one_is_as_usual_as_that(usual: bool) -> None:
    assert (
        are_usual(frame(), PrepareOptions(), EarlierDataset(ID, DIGESTS, np.zeros(300, np.uint8), usual=usual)) == usual
    )
