"""The vision transformer's patches, and the masked autoencoder's loss against a loop over patches."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from app.ml.configs.learning import PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import Batch, Encoding, ResolutionContext
from app.ml.kinds.backbones.vit import ResolvedVit, Vit, VitBackbone, sinusoids
from app.ml.kinds.methods.masked_autoencoder import MaskedAutoencoder, MaskedAutoencoderObjective
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny


def backbone(shape: tuple[int, ...] = (2, 7, 9), **fields: Any) -> VitBackbone:
    torch.manual_seed(1)
    return ResolvedVit(patch=3, width=16, depth=2, heads=2, **fields).build(Encoding(shape=shape))


def rows(count: int) -> torch.Tensor:
    return torch.rand(count, 2, 7, 9, generator=torch.Generator().manual_seed(2))


def objective(**fields: Any) -> MaskedAutoencoderObjective:
    torch.manual_seed(3)
    return MaskedAutoencoder(decoder_width=8, decoder_heads=2, **fields).build(backbone())


def test_patches_are_squares_of_the_image_filled_up_with_zeros() -> None:
    found, inputs = backbone(), rows(2)
    patches = found.patches(inputs)
    assert patches.shape == (2, found.patch_count, found.patch_values) == (2, 9, 18)
    padded = np.zeros((2, 2, 9, 9), np.float32)
    padded[:, :, :7] = inputs.numpy()
    for place in range(9):
        top, left = 3 * (place // 3), 3 * (place % 3)
        square = padded[:, :, top : top + 3, left : left + 3].reshape(2, -1)
        assert np.array_equal(patches[:, place].numpy(), square)


def test_all_patches_in_any_order_are_the_whole_image() -> None:
    found, inputs = backbone(), rows(3)
    order = torch.rand(3, 9).argsort(1)
    shuffled = torch.stack([patches[places] for patches, places in zip(found.patches(inputs), order, strict=True)])
    features = found.encode_patches(shuffled, order).mean(1)
    assert torch.allclose(features, found(inputs), atol=1e-5)
    elsewhere = found.encode_patches(shuffled, order.roll(1, 1)).mean(1)
    assert not torch.allclose(elsewhere, found(inputs), atol=1e-3), "places matter"


def test_learned_tokens_see_patches_and_are_none() -> None:
    found, inputs = backbone(tokens=2, pooling="first"), rows(3)
    assert found.encode_patches(found.patches(inputs), torch.arange(9).expand(3, -1)).shape == (3, 9, 16)
    assert found.tokens is not None
    found(inputs).sum().backward()
    assert found.tokens.grad is not None
    assert found.tokens.grad.any(1).all(), "the second one is seen by the first"
    mean = backbone(tokens=2)
    order = torch.arange(8, -1, -1).expand(3, -1)
    patches = mean.patches(inputs).flip(1)
    assert torch.allclose(mean.encode_patches(patches, order).mean(1), mean(inputs), atol=1e-5)
    assert [layer.shape for layer in mean.layers(inputs)] == [(3, 16)] * 2
    with pytest.raises(ValidationError, match="set tokens to 1, or pooling to mean"):
        Vit(pooling="first")


@pytest.mark.parametrize("normalize", [True, False])
def test_the_loss_is_that_of_the_masked_patches(normalize: bool) -> None:
    found, inputs = objective(normalize=normalize), rows(4)
    torch.manual_seed(4)
    loss = found.loss(Batch(inputs))["loss"].item()
    torch.manual_seed(4)
    order = torch.rand(4, 9).argsort(1)
    shown, hidden = order[:, :2], order[:, 2:]  # a quarter of 9 patches
    patches = found.backbone.patches(inputs)  # type: ignore[operator]
    seen = torch.stack([patches[row, shown[row]] for row in range(4)])
    with torch.no_grad():
        rebuilt = found.decode(found.backbone.encode_patches(seen, shown), shown, hidden).numpy()  # type: ignore[operator]
    errors = []
    for row in range(4):
        for index, place in enumerate(hidden[row].tolist()):
            patch = patches[row, place].double().numpy()
            if normalize:
                patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)
            errors.append(np.mean((rebuilt[row, index] - patch) ** 2))
    assert len(errors) == 4 * 7
    assert loss == pytest.approx(np.mean(errors), rel=1e-5)


def test_masked_pixels_never_reach_the_backbone() -> None:
    found, inputs = objective(normalize=False), rows(1)
    torch.manual_seed(5)
    hidden = torch.rand(1, 9).argsort(1)[0, 2:].tolist()
    inputs.requires_grad_()
    patches = found.backbone.patches(inputs)  # type: ignore[operator]
    shown = torch.tensor([[place for place in range(9) if place not in hidden]])
    features = found.backbone.encode_patches(patches.gather(1, shown[:, :, None].expand(-1, -1, 18)), shown)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(features.square().sum(), inputs)
    reached = found.backbone.patches(gradient)[0].abs().sum(1) > 0  # type: ignore[operator]
    assert reached.nonzero().flatten().tolist() == shown[0].tolist()


def test_an_image_of_structure_is_learned() -> None:
    found = objective(normalize=False)
    inputs = torch.outer(torch.arange(7.0), torch.ones(9)).expand(4, 2, 7, 9) * torch.rand(4, 1, 1, 1)
    optimizer = torch.optim.Adam(found.parameters(), 0.01)
    losses = []
    for _ in range(120):
        loss = found.loss(Batch(inputs))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


@pytest.mark.parametrize(("shape", "patch"), [((28, 28, 1), 4), ((8, 8, 3), 2), ((1, 1, 1), 2), ((224, 224, 3), 28)])
def test_patches_follow_the_image(shape: tuple[int, int, int], patch: int) -> None:
    assert Vit().resolve(ResolutionContext("image", shape, 10))[0].patch == patch


def test_places_differ_and_are_bounded() -> None:
    places = sinusoids(5, 7, 16)
    assert places.shape == (35, 16)
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 0.1
    assert places.abs().max() <= 1


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(ValidationError, match="multiple of 4 and of the 3 heads"):
        Vit(width=16, heads=3)
    with pytest.raises(ValidationError, match="multiple of its 3 heads"):
        MaskedAutoencoder(decoder_heads=3)
    request = {"backbone": {"kind": "vit", "patch": 8}, "method": {"kind": "masked_autoencoder"}}
    with pytest.raises(ConfigError, match="single patch") as caught:
        resolve_pretraining(PretrainingConfig.model_validate(request), tiny.images().spec)
    assert caught.value.loc == ("backbone", "patch")
