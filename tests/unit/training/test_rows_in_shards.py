"""Trainings whose rows come from shards through a bounded cache: the same losses, resumed to the row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.artifacts import open_store, put_blob
from app.datasets.limits import Limits
from app.datasets.opening import link_dataset
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare as prepare_dataset
from app.datasets.shard_cache import ShardCache
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data import arrays
from app.ml.data.arrays import ArrayData, Examples, ExampleShards, InMemory
from app.ml.data.stored_rows import WINDOW_SHARDS
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import SPLITS
from app.settings import Settings
from worker.training.batches import epoch_batches, epoch_order
from worker.training.events import EpochDone, Note, StepDone
from worker.training.run import Run, prepare

ROWS, SHARD = 900, 30 * 64


@pytest.fixture(autouse=True)
def _nothing_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of more than two windows of shards."""
    folder = tmp_path_factory.mktemp("sharded")
    random = np.random.default_rng(0)
    labels = np.arange(ROWS) % 3
    pixels = random.integers(0, 60, (ROWS, 8, 8, 1), dtype=np.uint8) + (60 * labels[:, None, None, None]).astype(
        np.uint8
    )
    np.savez(folder / "source.npz", x=pixels.astype(np.uint8), y=labels)
    (folder / "canonical").mkdir()
    options = PrepareOptions.model_validate({})
    prepare_dataset(
        folder / "source.npz", "source.npz", options, folder / "canonical", Limits(shard_bytes=SHARD), lambda *_: None
    )
    return folder / "canonical"


@pytest.fixture
def local(folder: Path) -> ArrayData:
    """All shards in the folder."""
    return ArrayData.open(folder)


@pytest.fixture
def cache(folder: Path, tmp_path: Path) -> Iterator[ShardCache]:
    """A cache of hardly more than a window."""
    store = open_store(Settings(data=tmp_path / "data"))
    files = {path.name: put_blob(store, path).model_dump() for path in folder.iterdir()}
    largest = (folder / "inputs-00000.npy").stat().st_size
    made = link_dataset(store, files, tmp_path / "job", (WINDOW_SHARDS + 1) * largest)
    assert isinstance(made, ShardCache)
    yield made
    made.close()


@pytest.fixture
def cached(cache: ShardCache, tmp_path: Path) -> ArrayData:
    return ArrayData.open(tmp_path / "job", cache)


def training(data: ArrayData, kind: str, **settings: Any) -> Run:
    request: dict[str, Any] = {
        "backbone": {"kind": "mlp", "hidden": [16, 8]},
        "training": {"epochs": 2, "batch_size": 32, "optimizer": {"kind": "adamw", "lr": 0.01}, **settings},
    }
    if kind == "pretraining":
        config = PretrainingConfig.model_validate(request | {"method": {"kind": "autoencoder"}})
        return prepare(resolve_pretraining(config, data.spec).config, data)
    heads = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "full"}}
    return prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request | heads), data.spec, None).config, data)


def losses(run: Run) -> list[float]:
    return [event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone)]


def shards_of(examples: Examples) -> ExampleShards:
    assert examples.shards is not None
    return examples.shards


@pytest.mark.parametrize("kind", ["pretraining", "fine_tuning"])
def test_a_small_cache_changes_no_loss(local: ArrayData, cached: ArrayData, cache: ShardCache, kind: str) -> None:
    runs = [training(data, kind) for data in (local, cached)]
    expected, seen = map(losses, runs)
    assert len(expected) == 2 * -(-local.spec.rows["train"] // 32)
    assert seen == expected
    assert cache.bytes > 2 * cache.held
    assert all("training.order" in {note.kind for note in run.notes if isinstance(note, Note)} for run in runs)
    measured = [run.evaluate("test") for run in runs]
    assert measured[0] is not None
    assert measured[1] is not None
    assert measured[0].losses == measured[1].losses


def test_only_validation_rows_that_fit_into_memory_are_kept(local: ArrayData, monkeypatch: pytest.MonkeyPatch) -> None:
    run = training(local, "pretraining")
    bytes_of_validation = 4 * 64 * local.spec.rows["validation"]
    assert bytes_of_validation >= 4 * 64 * local.spec.rows["test"]
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", bytes_of_validation)
    kept = {split: isinstance(run.examples(split).inputs, InMemory) for split in SPLITS}
    assert kept == {"train": False, "validation": True, "test": False}, "test rows are read once"
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", bytes_of_validation - 1)
    assert not isinstance(training(local, "pretraining").examples("validation").inputs, InMemory)


def test_a_run_is_resumed_to_the_row(local: ArrayData, cached: ArrayData, tmp_path: Path) -> None:
    expected = losses(training(local, "pretraining"))
    for stop in (1, 9, 20, 23, 30):  # within windows, and at the end of an epoch
        interrupted, seen = training(cached, "pretraining"), []
        for event in interrupted.train():
            if isinstance(event, StepDone):
                seen.append(event.losses["loss"].item())
            if isinstance(event, StepDone | EpochDone) and event.step == stop:
                interrupted.state.save(tmp_path / "state")
                break
        resumed = training(cached, "pretraining")
        resumed.state.load(tmp_path / "state")
        assert seen + losses(resumed) == expected


def test_rows_are_shuffled_by_shards_and_within_a_window(local: ArrayData) -> None:
    examples = training(local, "pretraining").examples("train")
    shards, rows = shards_of(examples), len(examples)
    numbers = torch.empty(rows, dtype=torch.int64)
    for index, indices in enumerate(shards.rows):
        numbers[indices] = index
    orders = [epoch_order(rows, 1, epoch, shards) for epoch in (0, 1)]
    assert not torch.equal(*orders)
    for order in orders:
        assert sorted(order.tolist()) == list(range(rows))
        start, windows = 0, []
        while start < rows:
            window = set(numbers[order[start:]].unique(sorted=False).tolist()) - {n for each in windows for n in each}
            size, members = 0, set()
            for index in numbers[order[start:]].tolist():
                if index not in members and len(members) == WINDOW_SHARDS:
                    break
                members.add(index)
                size += 1
            assert members <= window
            windows.append(members)
            start += size
        assert sum(map(len, windows)) == len(shards.rows) > 2 * WINDOW_SHARDS
        first = order[: len(order) // len(windows)].tolist()
        assert first != sorted(first)
        assert len(set(numbers[first[:32]].tolist())) > WINDOW_SHARDS // 2, "a batch has rows of many shards"


def test_few_shards_are_shuffled_as_one_piece_is(local: ArrayData) -> None:
    shards = shards_of(training(local, "pretraining").examples("train"))
    few = ExampleShards(shards.numbers[:WINDOW_SHARDS], shards.rows[:WINDOW_SHARDS], shards.files)
    rows = sum(map(len, few.rows))
    assert torch.equal(epoch_order(rows, 3, 4, few), epoch_order(rows, 3, 4))


class Expected:
    """Notes what is expected, and has no files."""

    def __init__(self) -> None:
        self.windows: list[list[int]] = []

    def expect(self, windows: list[list[int]]) -> None:
        self.windows = windows

    def opened(self, shard: int) -> Any:
        raise AssertionError(shard)


def test_what_is_expected_is_what_is_read(local: ArrayData) -> None:
    examples = training(local, "pretraining").examples("train")
    given, rows = shards_of(examples), len(examples)
    numbers = {int(row): number for number, indices in zip(given.numbers, given.rows, strict=True) for row in indices}
    for start in (0, 7, 15, 22):
        files = Expected()
        batches = epoch_batches(rows, 32, 5, 0, start, 1, ExampleShards(given.numbers, given.rows, files))
        order = [int(row) for batch in batches if batch is not None for row in batch]
        following = epoch_order(rows, 5, 1, given).tolist()
        read = list(dict.fromkeys(numbers[row] for row in order))
        expected = [shard for window in files.windows for shard in window]
        assert set(read) <= set(expected[: len(expected) - len(given.numbers)])
        assert numbers[order[0]] in files.windows[0]
        first_of_next = files.windows[-1 - (len(given.numbers) - 1) // WINDOW_SHARDS]
        assert {numbers[row] for row in following[:20]} <= set(first_of_next)
