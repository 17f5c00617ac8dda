"""Equal rows of a table are observations: all are kept, and their labels have the same chances in every split."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.frames import Frame
from app.datasets.frames.digests import digest_labels, digest_rows, find_each
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.datasets.splits.assignment import assign_splits
from app.datasets.splits.earlier import EarlierDataset
from app.ml.spec import TargetSpec

from .conftest import Outcome, Preparer, npz

ANSWER = TargetSpec(name="answer", type="category", classes=("no", "yes"))
SIZE = TargetSpec(name="size", type="number")
ID = "ds_" + "0" * 32
DRAWS = 100


def frame(inputs: Any, targets: Any, spec: TargetSpec = ANSWER) -> Frame:
    inputs, targets = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)[:, None]
    return Frame("table", inputs[:, None], (), targets, (spec,), np.arange(len(inputs)), None, None)


def split_of(rows: Frame, seed: int = 0, earlier: EarlierDataset | None = None) -> Any:
    return assign_splits(rows, digest_rows(rows.inputs), PrepareOptions(seed=seed), Notes(), earlier)


def survey(rows: int, seed: int) -> tuple[Any, Any, Any]:
    """People of eight kinds, (rows,), who answer yes with a chance of their kind: kinds, answers and the chances."""
    random = np.random.default_rng(seed)
    chances = np.array([0.15, 0.25, 0.3, 0.35, 0.4, 0.6, 0.7, 0.9])
    kinds = random.integers(0, len(chances), rows)
    return kinds, (random.random(rows) < chances[kinds]).astype(float), chances


def draws(spec: TargetSpec = ANSWER) -> tuple[Any, Any, Any]:
    kinds, answers, _ = survey(800, 3)
    rows = frame(kinds, answers, spec)
    return kinds, answers, np.stack([split_of(rows, seed) for seed in range(DRAWS)])


@pytest.mark.parametrize("spec", [ANSWER, SIZE])
def test_every_observation_has_the_same_chance_of_every_split(spec: TargetSpec) -> None:
    """Over 100 draws the share of validation and test is 0.1 for each kind and answer, give or take four deviations."""
    kinds, answers, splits = draws(spec)
    for kind in np.unique(kinds):
        for answer in (0, 1):
            chosen = splits[:, (kinds == kind) & (answers == answer)]
            for code in (1, 2):
                assert abs((chosen == code).mean() - 0.1) < 4 * np.sqrt(0.09 / chosen.size)


def test_the_best_possible_accuracy_and_the_true_chances_are_reached() -> None:
    """A table of the train rows answers the test rows as well as one of all rows could, and with their chances."""
    kinds, answers, splits = draws()
    shares = np.bincount(kinds, answers) / np.bincount(kinds)
    best = np.maximum(shares, 1 - shares)[kinds].mean()
    accuracies, errors = [], []
    for split in splits:
        train, test = split == 0, split == 2
        learned = np.bincount(kinds[train], answers[train]) / np.bincount(kinds[train])
        accuracies.append(((learned[kinds[test]] > 0.5) == answers[test]).mean())
        errors.append((np.bincount(kinds[test], answers[test], 8) / np.bincount(kinds[test], minlength=8)) - learned)
    assert np.mean(accuracies) == pytest.approx(best, abs=4 * np.std(accuracies) / np.sqrt(DRAWS) + 0.003)
    np.testing.assert_array_less(np.abs(np.mean(errors, axis=0)), 4 * np.std(errors, axis=0) / np.sqrt(DRAWS))


def places(inputs: Any, targets: Any, split: Any) -> Counter[tuple[float, ...]]:
    """Return how many rows of each input and label are in each split."""
    return Counter(zip(np.ravel(inputs).tolist(), np.ravel(targets).tolist(), split.tolist(), strict=True))


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=2, max_size=80),
    seed=st.integers(0, 100),
    random=st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, int]], seed: int, random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    before, after = (frame(*zip(*order, strict=True)) for order in (rows, shuffled))
    assert places(before.inputs, before.targets, split_of(before, seed)) == places(
        after.inputs, after.targets, split_of(after, seed)
    )


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=2, max_size=60),
    more=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=30),
    random=st.randoms(use_true_random=False),
)
def test_each_observation_keeps_its_split_in_a_version(rows: Any, more: Any, random: Any) -> None:
    old = frame(*zip(*rows, strict=True))
    split = split_of(old)
    labels = digest_labels(old.targets, old.target_specs)
    earlier = EarlierDataset(ID, digest_rows(old.inputs), split, labels=labels)
    new = frame(*zip(*random.sample(rows + more, len(rows) + len(more)), strict=True))
    missing = places(old.inputs, old.targets, split) - places(new.inputs, new.targets, split_of(new, 5, earlier))
    assert not missing, "each input and label is in each split at least as often as before"


def test_a_row_whose_label_was_corrected_keeps_its_split() -> None:
    old, new = frame([1, 1, 2], [0, 0, 1]), frame([2, 1, 1], [1, 1, 0])
    labels = digest_labels(old.targets, old.target_specs)
    earlier = EarlierDataset(ID, digest_rows(old.inputs), np.array([1, 2, 0], np.uint8), labels=labels)
    known = earlier.splits_of(digest_rows(new.inputs), new.rows, digest_labels(new.targets, new.target_specs))
    assert known.tolist() == [0, 2, 1]


def test_rows_that_are_new_to_an_earlier_dataset_do_not_follow_their_equals() -> None:
    kinds, answers, _ = survey(3000, 1)
    earlier = EarlierDataset(ID, digest_rows(np.arange(8.0)[:, None]), np.full(8, 2, np.uint8))
    split = split_of(frame(kinds, answers), 0, earlier)
    assert np.bincount(split, minlength=3) == pytest.approx([2394, 299, 307], abs=3)


def test_each_is_found_once() -> None:
    keys, among = (np.array(ids, np.uint64)[:, None] for ids in ([7, 3, 7, 7, 1], [3, 7, 9, 7]))
    assert find_each(keys, among).tolist() == [1, 0, 3, -1, -1]
    assert find_each(keys, among[:0]).tolist() == [-1] * 5
    assert find_each(keys[:0], among).tolist() == []


def categories(rows: int = 400) -> str:
    kinds, answers, _ = survey(rows, 2)
    return "kind,answer\n" + "".join(f"k{k},{'ny'[int(a)]}\n" for k, a in zip(kinds, answers, strict=True))


def test_equal_rows_of_a_table_are_kept(make: Preparer) -> None:
    done = make(categories(), columns={"answer": "target"})
    assert done.report.rows.kept == 400
    assert done.decision("duplicates") == "keep"
    assert done.says("392 rows repeat the inputs of another and are kept")
    assert done.report.warnings == ()
    assert done.report.leaks is not None
    assert "observation" in done.report.leaks.advice
    assert make(categories(), columns={"answer": "target"}, duplicates="remove").report.rows.kept == 16


def test_equal_series_are_kept(make: Preparer) -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 6)), 6, axis=0)
    done = make(npz(x=x, y=np.arange(60) % 2), modality="series")
    assert done.report.rows.kept == 60
    assert done.decision("duplicates") == "keep"


def test_what_is_unique_says_nothing_of_duplicates(make: Preparer) -> None:
    done = make("a,label\n" + "".join(f"{k * k},{'xy'[k % 2]}\n" for k in range(60)))
    assert not [item for item in done.report.decisions if item.field == "duplicates"]


IMAGES = np.random.default_rng(1).integers(0, 256, (300, 4, 4), dtype=np.uint8)
LABELS = np.arange(300) % 3


def repeated(counts: Any, **labels: Any) -> bytes:
    return npz(x=np.repeat(IMAGES, counts, axis=0), y=labels.get("y", np.repeat(LABELS, counts)))


def test_a_few_copies_of_images_go_without_a_warning_and_many_with_one(make: Preparer) -> None:
    few, many = np.ones(300, int), np.ones(300, int)
    few[:3], many[:20] = 2, 2
    assert make(repeated(few)).report.warnings == ()
    done = make(repeated(many))
    assert done.report.rows.kept == 300
    warning = done.warning("duplicates_removed")
    assert (warning.count, warning.remedy) == (20, 'duplicates = "keep" keeps them, in one split')
    assert make(repeated(many), duplicates="remove").report.warnings == ()


def test_one_mislabelled_copy_does_not_take_the_others_with_it(make: Preparer) -> None:
    x = np.concatenate([IMAGES[:60], np.repeat(IMAGES[60:61], 301, axis=0)])
    y = np.concatenate([LABELS[:60], np.zeros(300, int), [2]])
    done = make(npz(x=x, y=y))
    assert done.report.rows.kept == 61
    assert done.report.rows.removed["conflicting_labels"] == 1
    assert [item.row for item in done.report.removals if item.reason == "conflicting_labels"] == [360]
    assert done.spec.targets[0].classes[int(done.array("targets")[60, 0])] == "0"
    assert done.says("1 images were removed: the same image is labelled in several ways; the label of most is kept")


def sides(done: Outcome) -> list[set[int]]:
    """Return for each distinct input the splits that its rows are in."""
    inputs = done.array("inputs").reshape(len(done.array("split")), -1)
    _, ids = np.unique(inputs, axis=0, return_inverse=True)
    return [set(done.array("split")[ids.reshape(-1) == k].tolist()) for k in range(ids.max() + 1)]


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_images_that_are_kept_stay_on_one_side(make: Preparer, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 6, 300)
    noisy = np.random.default_rng(seed).integers(0, 3, counts.sum())
    for y in (np.repeat(LABELS, counts), noisy):
        done = make(repeated(counts, y=y), duplicates="keep", seed=seed)
        assert done.report.rows.kept == counts.sum()
        assert max(map(len, sides(done))) == 1
        shares = np.array([done.spec.rows[name] for name in ("train", "validation", "test")]) / counts.sum()
        assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_messages_of_few_wordings_are_kept_each_wording_on_one_side(make: Preparer) -> None:
    wordings = [
        f"please {verb} my {thing}" for verb in ("track", "cancel", "refund") for thing in ("order", "bag", "hat")
    ]
    lines = [f'{{"text": "{wordings[k % 9]}", "label": "{"abc"[k % 9 // 3]}"}}' for k in range(400)]
    done = make("\n".join(lines), modality="text")
    assert done.spec.modality == "text"
    assert done.report.rows.kept == 400
    assert done.decision("duplicates") == "keep"
    by_text: dict[str, set[int]] = {}
    for row, split in zip(done.array("rows"), done.array("split"), strict=True):
        by_text.setdefault(lines[row], set()).add(int(split))
    assert max(map(len, by_text.values())) == 1
    assert [count // 44 for count in done.spec.rows.values()] == [7, 1, 1]


def test_texts_of_which_few_repeat_lose_the_copies(make: Preparer) -> None:
    texts = [f"number {k} of many texts" for k in range(100)]
    done = make("\n".join(texts + texts[:30]), text={"rows": "lines"})
    assert done.report.rows.kept == 100
    assert done.warning("duplicates_removed").count == 30
