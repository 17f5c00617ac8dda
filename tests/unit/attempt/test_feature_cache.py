"""Features are kept for the next job: the same numbers, whatever happens to the files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.fitting.feature_cache import FeatureCache
from app.ml.fitting.features import GetOrCompute
from app.ml.kinds.backbones.mlp import MlpBackbone
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.run import Run, prepare


def counted(values: Tensor) -> tuple[Callable[[], Tensor], list[int]]:
    calls: list[int] = []

    def compute() -> Tensor:
        calls.append(1)
        return values

    return compute, calls


def test_what_was_computed_once_is_read(tmp_path: Path) -> None:
    compute, calls = counted(torch.randn(20, 3))
    cache = FeatureCache(tmp_path / "new", 1 << 20, "rows")
    first, second = cache("key", compute), cache("key", compute)
    assert torch.equal(first, second)
    assert len(calls) == 1
    cache("another", compute)
    FeatureCache(tmp_path / "new", 1 << 20, "other rows")("key", compute)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:-5],
        lambda content: content[:0],
        lambda content: content[::-1],
    ],
    ids=["a flipped bit", "cut short", "empty", "reversed"],
)
def test_a_damaged_entry_is_computed_again_and_mended(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    compute, calls = counted(torch.randn(20, 3))
    cache = FeatureCache(tmp_path, 1 << 20, "rows")
    expected = cache("key", compute)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(cache("key", compute), expected)
    assert len(calls) == 2
    cache("key", compute)
    assert len(calls) == 2


def test_the_entries_unused_for_the_longest_go(tmp_path: Path) -> None:
    compute, calls = counted(torch.randn(100, 25))  # 10,000 bytes
    cache = FeatureCache(tmp_path, 45_000, "rows")
    for number in range(4):
        cache(str(number), compute)
        for path in tmp_path.iterdir():
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
    cache("0", compute)  # used again
    cache("4", compute)
    assert len(list(tmp_path.iterdir())) == 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 45_000
    assert len(calls) == 5
    cache("0", compute)
    assert len(calls) == 5
    cache("1", compute)
    assert len(calls) == 6


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    compute, calls = counted(torch.randn(100, 25))
    cache = FeatureCache(tmp_path, 39_999, "rows")
    cache("key", compute)
    cache("key", compute)
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())
    FeatureCache(tmp_path, 0, "rows")("key", compute)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    compute, _ = counted(torch.ones(2, 2))
    assert torch.equal(FeatureCache(tmp_path / "file", 1 << 20, "rows")("key", compute), torch.ones(2, 2))


@pytest.fixture(scope="module")
def parent() -> Bundle:
    data = tiny.images()
    config = PretrainingConfig.model_validate({"backbone": {"kind": "mlp"}, "training": {"epochs": 1}})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    for _ in run.train():
        pass
    return run.bundle()


def probed(parent: Bundle, cache: GetOrCompute, **strategy: Any) -> Run:
    data = tiny.images()
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "linear_probe", **strategy}}
    config = FineTuningConfig.model_validate(request)
    run = prepare(resolve_fine_tuning(config, data.spec, parent.manifest).config, data, parent=parent, cache=cache)
    for _ in run.train():
        pass
    run.evaluate("test")
    return run


def test_the_second_probe_of_a_backbone_never_runs_it(parent: Bundle, tmp_path: Path, monkeypatch: Any) -> None:
    cache = FeatureCache(tmp_path, 1 << 20, "rows")
    first = probed(parent, cache)
    assert len(list(tmp_path.iterdir())) == 4  # each layer, to choose one; and three splits

    layers = MlpBackbone.layers

    def layers_of_one_row(backbone: MlpBackbone, inputs: Tensor) -> list[Tensor]:
        if len(inputs) > 1:  # a single made-up row tells widths and costs
            pytest.fail("the backbone runs again")
        return layers(backbone, inputs)

    monkeypatch.setattr(MlpBackbone, "layers", layers_of_one_row)
    second = probed(parent, cache)
    expected = first.state.objective.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in second.state.objective.state_dict().items())


def test_another_layer_other_weights_or_rows_are_computed(parent: Bundle) -> None:
    seen: set[str] = set()

    def keep(key: str, compute: Callable[[], Tensor]) -> Tensor:
        assert key not in seen
        seen.add(key)
        return compute()

    probed(parent, keep, layer="last")
    probed(parent, keep, layer=0)
    probed(parent, keep, layer="all")
    other = Bundle(parent.manifest, parent.manifest.backbone.build(parent.manifest.encoding), {})
    probed(other, keep, layer="last")
    assert len(seen) == 12
