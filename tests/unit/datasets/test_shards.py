"""Inputs in shards hold the rows of inputs in one piece, and a bounded cache of shards gives the same rows."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.artifacts import ArtifactStore, open_store, put_blob
from app.artifacts.local import LocalArtifacts
from app.datasets.canonical.rows import inputs_of, open_inputs, preview
from app.datasets.limits import Limits
from app.datasets.opening import link_dataset
from app.datasets.shard_cache import ShardCache, shard_of
from app.errors import CorruptError
from app.ml.data.arrays import ArrayData
from app.ml.data.stored_rows import ShardedRows
from app.ml.spec import SPLITS, DataSpec
from app.settings import Settings
from tests.support.servers import wait_until
from tests.unit.datasets.conftest import Outcome, Preparer

ROWS = 200


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def images() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 1), dtype=np.uint8)
    return npz(x=pixels, y=np.arange(ROWS) % 3)


def table() -> str:
    words = ("red", "green", "blue", "")
    lines = [
        f"{i},{i * 7 % 100 / 8},{'even' if i % 2 else 'odd'},item {i} is {words[i % 4]} and quite long"
        for i in range(ROWS)
    ]
    return "number,size,kind,remark\n" + "\n".join(lines)


def texts() -> str:
    return "text,kind\n" + "\n".join(f"{'word ' * (i % 17)}number {i},{'a' if i % 3 else 'b'}" for i in range(ROWS))


def series() -> bytes:
    return npz(x=np.random.default_rng(0).normal(size=(ROWS, 9, 2)))


UPLOADS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "image": (images(), 600, {}),
    "table": (table(), 700, {"columns": {"kind": "target"}, "types": {"remark": "text"}}),
    "text": (texts(), 800, {"columns": {"kind": "target"}, "modality": "text"}),
    "series": (series(), 1500, {"modality": "series"}),
}


@pytest.fixture(params=UPLOADS)
def pair(request: pytest.FixtureRequest, make: Preparer) -> tuple[Outcome, Outcome]:
    """The same upload, in one piece and in shards."""
    content, size, options = UPLOADS[request.param]
    return make(content, **options), make(content, Limits(shard_bytes=size), **options)


def test_rows_in_shards_are_those_in_one_piece(pair: tuple[Outcome, Outcome]) -> None:
    whole, cut = pair
    assert not whole.spec.shards
    assert len(cut.spec.shards) > 10
    assert sum(cut.spec.shards) == sum(cut.spec.rows.values()) == sum(whole.spec.rows.values())
    assert cut.spec.model_copy(update={"shards": ()}) == whole.spec
    expected, data = ArrayData.open(whole.folder), ArrayData.open(cut.folder)
    positions = np.random.default_rng(1).permutation(len(expected.split))
    for chosen in (slice(None), slice(3, 50), slice(0, 0), positions, positions[:0]):
        np.testing.assert_array_equal(data.inputs[chosen], expected.inputs[chosen])
    assert preview(cut.folder, cut.spec, 20, 60) == preview(whole.folder, whole.spec, 20, 60)
    if cut.spec.modality != "image":
        window = slice(10, 90)
        shown = [inputs_of(open_inputs(each.folder, each.spec), each.spec, window) for each in pair]
        assert shown[0] == shown[1]
    for name in ("split", "rows", "digests", "likeness"):
        np.testing.assert_array_equal(cut.array(name), whole.array(name))


def test_a_shard_is_bounded_and_of_one_split(pair: tuple[Outcome, Outcome]) -> None:
    whole, cut = pair
    data = ArrayData.open(cut.folder)
    assert isinstance(data.inputs, ShardedRows)
    for split in range(len(SPLITS)):
        shards = set(data.inputs.places.shard_of(np.flatnonzero(data.split == split)).tolist())
        others = set(data.inputs.places.shard_of(np.flatnonzero(data.split != split)).tolist())
        assert not shards & others
    sizes: dict[int | None, int] = {}
    for name in cut.files:
        sizes[shard_of(name)] = sizes.get(shard_of(name), 0) + (cut.folder / name).stat().st_size
    limit = UPLOADS[whole.spec.modality][1]
    # Beside its rows a shard has headers, and eight bytes of where each text begins.
    assert max(size for shard, size in sizes.items() if shard is not None) < limit + 4 * 128 + 8 * ROWS


def test_large_datasets_say_how_they_are_shuffled(pair: tuple[Outcome, Outcome]) -> None:
    whole, cut = pair
    assert cut.decision("order") == "shuffled by shards"
    assert "order" not in {item.field for item in whole.report.decisions}


def test_small_datasets_and_those_of_before_are_in_one_piece(make: Preparer) -> None:
    done = make(images())
    assert {"inputs.npy", "manifest.json"} <= set(done.files)
    manifest = (done.folder / "manifest.json").read_text(encoding="utf-8")
    before = manifest.replace('"shards": [], ', "")
    assert before != manifest
    (done.folder / "manifest.json").write_text(before, encoding="utf-8")
    assert DataSpec.model_validate(ArrayData.open(done.folder).spec).shards == ()
    assert not isinstance(ArrayData.open(done.folder).inputs, ShardedRows)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(Settings(data=tmp_path / "data"))


@pytest.fixture
def stored(make: Preparer, store: ArtifactStore) -> tuple[Outcome, dict[str, Any]]:
    done = make(images(), Limits(shard_bytes=600))
    return done, {name: put_blob(store, done.folder / name).model_dump() for name in done.files}


@pytest.fixture
def cache(stored: tuple[Outcome, dict[str, Any]], store: ArtifactStore, tmp_path: Path) -> Iterator[ShardCache]:
    size = max(blob["bytes"] for name, blob in stored[1].items() if shard_of(name) is not None)
    made = ShardCache(store, stored[1], tmp_path / "shards", 4 * size)
    yield made
    made.close()


def held(folder: Path) -> list[int]:
    return sorted(number for path in folder.iterdir() if (number := shard_of(path.name)) is not None)


def test_rows_come_through_a_cache_that_is_bounded(
    stored: tuple[Outcome, dict[str, Any]], store: ArtifactStore, tmp_path: Path
) -> None:
    done, files = stored
    size = max(blob["bytes"] for name, blob in files.items() if shard_of(name) is not None)
    shards = link_dataset(store, files, tmp_path / "job", 3 * size)
    assert isinstance(shards, ShardCache)
    assert not (tmp_path / "job" / "inputs-00000.npy").exists()
    data, expected = ArrayData.open(tmp_path / "job", shards), ArrayData.open(done.folder)
    for seed in range(5):
        positions = np.random.default_rng(seed).permutation(ROWS)[:40]
        np.testing.assert_array_equal(data.inputs[positions], expected.inputs[positions])
        kept = sum(path.stat().st_size for path in (tmp_path / "job" / "shards").iterdir())
        assert 0 < kept == shards.held <= 3 * size
    assert link_dataset(store, files, tmp_path / "all", shards.bytes) is None
    np.testing.assert_array_equal(ArrayData.open(tmp_path / "all").inputs[:], expected.inputs[:])


def test_what_is_expected_is_read_ahead_as_far_as_there_is_room(cache: ShardCache, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    cache.expect([[5, 2], [7, 1], [0, 3]])
    wait_until(lambda: held(folder) == [1, 2, 5, 7], "four shards to be read ahead")
    with cache.opened(2):
        pass
    assert held(folder) == [1, 2, 5, 7], "its window is not over"
    with cache.opened(9):  # of another split: it takes the place of what is needed last
        assert {2, 5, 9} < set(held(folder))
    with cache.opened(7):
        wait_until(lambda: held(folder) == [0, 1, 3, 7], "the next window")
    cache.expect([[8, 6]])
    wait_until(lambda: {8, 6} < set(held(folder)), "what is expected now")


def test_an_open_shard_stays_whatever_needs_room(cache: ShardCache, tmp_path: Path) -> None:
    with cache.opened(4) as folder:
        for number in range(10):
            with cache.opened(number):
                pass
        assert (folder / "inputs-00004.npy").is_file()


class Flaky(LocalArtifacts):
    """A store on disk whose files are gone until they are said to be back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked, self.back = threading.Event(), False

    def export(self, key: str, target: Path, *, anew: bool = False) -> None:
        if not self.back:
            self.asked.set()
            msg = "The artifact is missing."
            raise CorruptError(msg)
        super().export(key, target, anew=anew)


def test_what_cannot_be_read_ahead_is_said_to_who_reads(stored: tuple[Outcome, dict[str, Any]], tmp_path: Path) -> None:
    flaky = Flaky(tmp_path / "data" / "artifacts")
    cache = ShardCache(flaky, stored[1], tmp_path / "flaky", 1 << 20)
    cache.expect([[1, 2]])
    assert flaky.asked.wait(30)
    with pytest.raises(CorruptError, match="missing"), cache.opened(1):
        pass
    flaky.back = True
    with cache.opened(1) as folder:
        assert (folder / "inputs-00001.npy").is_file()
    cache.close()


def test_damaged_shards_are_refused(
    stored: tuple[Outcome, dict[str, Any]], store: ArtifactStore, tmp_path: Path
) -> None:
    cache = ShardCache(store, stored[1], tmp_path / "shards", 1 << 20)
    path = store.fetch(f"blobs/{(sha := stored[1]['inputs-00003.npy']['sha256'])[:2]}/{sha}")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="damaged"), cache.opened(3):
        pass
    assert not held(tmp_path / "shards")
    assert cache.held == 0
