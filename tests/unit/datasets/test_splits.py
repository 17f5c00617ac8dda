"""Splits: by content and seed, in proportion, never by order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.datasets.frames.digests import digest_rows
from app.datasets.options import PrepareOptions
from app.datasets.splits.assignment import split_groups, split_rows

from .conftest import Preparer, npz

X = np.random.default_rng(2).integers(0, 256, (200, 3, 3), dtype=np.uint8)
Y = np.arange(200) % 5
GOLDEN = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 2, 0, 0, 0]


def test_the_same_rows_in_another_order_fall_into_the_same_splits(make: Preparer) -> None:
    order = np.random.default_rng(3).permutation(200)
    first, second = make(npz(x=X, y=Y)), make(npz(x=X[order], y=Y[order]))
    np.testing.assert_array_equal(first.array("split")[order], second.array("split"))
    again = make(npz(x=X, y=Y))
    np.testing.assert_array_equal(first.array("split"), again.array("split"))


def test_the_split_of_known_content_never_changes(make: Preparer) -> None:
    """Users compare models over years: a change of these numbers reshuffles every dataset."""
    done = make(npz(x=np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2)))
    assert done.array("split").tolist() == GOLDEN


def test_another_seed_gives_another_split(make: Preparer) -> None:
    assert (make(npz(x=X, y=Y)).array("split") != make(npz(x=X, y=Y), seed=1).array("split")).any()


def test_classes_are_in_proportion(make: Preparer) -> None:
    done = make(npz(x=X, y=Y), splits={"train": 0.5, "validation": 0.25, "test": 0.25})
    counts = done.report.targets[0].classes
    assert set(counts) == set("01234")
    assert all(row == {"train": 20, "validation": 10, "test": 10} for row in counts.values())


def test_ten_rows_a_class_give_eight_one_one(make: Preparer) -> None:
    done = make(npz(x=X[:50], y=Y[:50]))
    assert all(row == {"train": 8, "validation": 1, "test": 1} for row in done.report.targets[0].classes.values())


def test_few_rows_still_fill_every_split(make: Preparer) -> None:
    assert make(npz(x=X[:3])).spec.rows == {"train": 1, "validation": 1, "test": 1}
    lonely = make(npz(x=X[:1]))
    assert lonely.spec.rows == {"train": 1, "validation": 0, "test": 0}
    assert lonely.says("split test holds no rows")


def test_all_rows_may_train(make: Preparer) -> None:
    assert make(npz(x=X), splits={"train": 1.0}).spec.rows == {"train": 200, "validation": 0, "test": 0}


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    validation=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 2**63 - 1),
)
def test_quotas(sizes: list[int], validation: float, test: float, seed: int) -> None:
    strata = np.repeat(np.arange(len(sizes)), sizes).astype(np.float64)
    options = PrepareOptions(splits={"train": 1 - validation - test, "validation": validation, "test": test}, seed=seed)
    digests = digest_rows(np.arange(len(strata), dtype=np.int64).reshape(-1, 1))
    split = split_rows(digests, strata, options)
    for code, size in enumerate(sizes):
        inside = split[strata == code]
        assert (inside == 0).any()
        for number, share in ((1, validation), (2, test)):
            assert (inside == number).sum() <= size * share + 1
    if min(sizes) >= 10 and len(sizes) > 1:
        assert abs((split == 1).sum() - validation * len(strata)) <= 1
        assert abs((split == 2).sum() - test * len(strata)) <= 1


@given(groups=st.lists(st.integers(0, 8), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_groups_never_part(groups: list[int], seed: int) -> None:
    keys = np.array(groups, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    split = split_groups(keys, PrepareOptions(seed=seed))
    assert (split == 0).any()
    for key in np.unique(keys):
        assert len(np.unique(split[keys == key])) == 1


@pytest.mark.parametrize(
    "splits",
    [
        {"train": 0.0, "test": 1.0},
        {"train": 0.5},
        {"train": 1.5, "test": -0.5},
        {"train": float("nan"), "test": 0.5},
        {"train": 0.9, "dev": 0.1},
    ],
)
def test_shares_that_are_refused(splits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PrepareOptions.model_validate({"splits": splits})


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        PrepareOptions.model_validate({"sead": 1})


@pytest.mark.parametrize(
    "names", [("Training", "Testing", "dev"), ("TRAIN", "TEST", "Valid"), ("train", "holdout", "val")]
)
def test_a_column_names_splits_in_any_case(make: Preparer, names: tuple[str, str, str]) -> None:
    rows = "".join(f"{k * 0.37:.2f},{names[k % 3]},{'xy'[k // 3 % 2]}\n" for k in range(30))
    done = make(f"a,Split,label\n{rows}")
    assert done.spec.rows == {"train": 10, "validation": 10, "test": 10}
    assert done.decision("columns.Split") == "split"
