"""What is corrupted, what is rebuilt, and the emphasised loss against a loop over numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from app.ml.blocks.reconstruction import value_weights
from app.ml.configs.learning import PretrainingConfig
from app.ml.interfaces import Batch, Encoding
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.methods.denoising_autoencoder import (
    DenoisingAutoencoderObjective,
    MaskCorruption,
    NoiseCorruption,
    ResolvedDenoisingAutoencoder,
    SwapCorruption,
    corrupt,
)
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny

EVERY = pytest.mark.parametrize("corruption", [NoiseCorruption(), MaskCorruption(share=0.4), SwapCorruption(share=0.4)])


def objective(corruption: Any, emphasis: float = 1.0, shape: tuple[int, ...] = (2, 3, 3)) -> Any:
    torch.manual_seed(1)
    config = ResolvedDenoisingAutoencoder(corruption=corruption, emphasis=emphasis)
    return config.build(ResolvedMlp(hidden=(6, 4)).build(Encoding(shape=shape)))


def rows(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2)) + 1


@EVERY
@pytest.mark.parametrize("emphasis", [1.0, 3.0])
def test_the_loss_is_that_of_the_clean_row_and_changed_values_count_more(corruption: Any, emphasis: float) -> None:
    found: DenoisingAutoencoderObjective = objective(corruption, emphasis)
    inputs = rows(5, 2, 3, 3)
    torch.manual_seed(3)
    losses = found.loss(Batch(inputs))
    torch.manual_seed(3)
    corrupted, changed = corrupt(corruption, inputs, None)
    with torch.no_grad():
        rebuilt = found.decoder(found.backbone(corrupted)).numpy()
    clean, weights = inputs.numpy(), np.where(changed.numpy(), emphasis, 1)
    errors = [
        [w * (x - r) ** 2 for x, r, w in zip(*map(np.ravel, row), strict=True)]
        for row in zip(clean, rebuilt, weights, strict=True)
    ]
    assert losses["loss"].item() == pytest.approx(np.mean([sum(row) / 2 for row in errors]), rel=1e-5)
    assert losses["mse"].item() == pytest.approx(np.mean((clean - rebuilt) ** 2), rel=1e-5)


def test_masked_values_are_zero_and_about_as_many_as_asked() -> None:
    inputs = rows(400, 50)
    corrupted, changed = corrupt(MaskCorruption(share=0.2), inputs, None)
    assert torch.equal(corrupted == 0, changed)
    assert torch.equal(corrupted[~changed], inputs[~changed])
    assert changed.float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_swapped_values_come_from_the_same_place_of_other_rows() -> None:
    inputs = torch.arange(400.0)[:, None] + 1000 * torch.arange(50)
    corrupted, changed = corrupt(SwapCorruption(share=0.3), inputs, None)
    assert torch.equal(corrupted // 1000, inputs // 1000), "its own column"
    assert torch.equal(corrupted[~changed], inputs[~changed])
    moved = (corrupted != inputs).float().mean().item()
    assert moved == pytest.approx(0.3 * 399 / 400, abs=0.01)
    sources = (corrupted - inputs).reshape(-1)[changed.reshape(-1)].unique()
    assert len(sources) > 300, "each value has a row of its own to come from"
    alone = torch.rand(1, 9)
    assert torch.equal(corrupt(SwapCorruption(), alone, None)[0], alone)


@EVERY
def test_what_a_series_did_not_observe_stays_and_does_not_count(corruption: Any) -> None:
    inputs = torch.randn(3, 3, 6)
    inputs[:, -1] = torch.tensor([[1.0] * 6, [1.0, 1, 0, 0, 0, 0], [0.0] * 6])
    inputs[:, :-1] *= inputs[:, -1:]
    corrupted, changed = corrupt(corruption, inputs, value_weights(inputs))
    still = value_weights(inputs) == 0
    assert torch.equal(corrupted[still], inputs[still])
    assert not changed[still].any()
    assert not torch.equal(corrupted[0], inputs[0])
    found = objective(corruption, 2.0, (3, 6))
    torch.manual_seed(4)
    before = found.loss(Batch(inputs))["loss"]
    with torch.no_grad():  # what is said of the channel of observations is without weight
        found.decoder[-2][0].bias[-6:] += 100
    torch.manual_seed(4)
    assert found.loss(Batch(inputs))["loss"].item() == pytest.approx(before.item(), rel=1e-5)


@pytest.mark.parametrize(("modality", "kind"), [("image", "mask"), ("table", "swap"), ("series", "mask")])
def test_the_corruption_follows_the_data(modality: str, kind: str) -> None:
    request = PretrainingConfig.model_validate({"method": {"kind": "denoising_autoencoder"}})
    config = resolve_pretraining(request, tiny.DATASETS[modality]().spec).config  # type: ignore[index]
    assert config.method.corruption.kind == kind  # type: ignore[union-attr]
