"""Normalisation leaves every map something to say, however few its pixels; contrast alone counts where asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.convnet import ConvNet


def groups(channels: tuple[int, ...], side: int) -> list[int]:
    backbone = ConvNet(channels=channels, norm="group").build(Encoding(shape=(1, side, side)))
    return [module.num_groups for module in backbone.blocks.modules() if isinstance(module, nn.GroupNorm)]


@pytest.mark.parametrize("channels", [(8, 8, 8, 8), (4, 4, 4, 4), (2, 2, 2, 2), (1, 3, 2, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_features_vary_over_rows_down_to_maps_of_one_pixel(channels: tuple[int, ...], training: bool) -> None:
    torch.manual_seed(0)
    backbone = ConvNet(channels=channels, norm="group", features=6).build(Encoding(shape=(1, 8, 8))).train(training)
    rows = torch.rand(5, 1, 8, 8)
    features = torch.cat([backbone(row[None]) for row in rows])
    assert features.isfinite().all()
    assert features.std(0).max() > 1e-5, "rounding moves them by less"
    restored = backbone.mirror().train(training)(features[:1])
    assert restored.shape == (1, 1, 8, 8)


def test_a_group_normalises_several_channels() -> None:
    assert groups((2, 8, 12, 32, 128), 64) == [1, 2, 2, 8, 8]
    assert groups((8, 8, 1), 8) == [2, 2], "a map of one value is left alone"
    assert groups((8, 8, 8, 2), 8) == [2, 2, 2], "and so is one of two"


def test_contrast_is_what_remains_of_an_image() -> None:
    torch.manual_seed(0)
    config = ConvNet(channels=(6, 5), kernel_size=3, features=4, activation="relu", norm="contrast", first_stride=1)
    backbone = config.build(Encoding(shape=(2, 9, 9)))
    rows = torch.rand(3, 2, 9, 9)
    maps, weights = rows, dict(backbone.named_parameters())
    for block, stride in enumerate((1, 2)):
        weight = weights[f"blocks.{block}.0.weight"]
        if block == 0:
            weight = weight - weight.mean((1, 2, 3), keepdim=True)
        maps = F.conv2d(maps, weight, stride=stride, padding=1)
        deviations = maps - maps.mean(1, keepdim=True)
        maps = F.relu(deviations / (deviations.square().mean(1, keepdim=True) + 1e-5).sqrt())
    torch.testing.assert_close(backbone.layers(rows)[1], F.adaptive_avg_pool2d(maps, 5).flatten(1))
    inside = backbone.blocks[0](rows)[:, :, 1:-1, 1:-1]
    brighter = backbone.blocks[0](3 * rows + 5)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(brighter, inside, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("side", [1, 2, 7, 28])
@pytest.mark.parametrize("channels", [(1, 2), (4, 6, 8)])
@pytest.mark.parametrize("norm", ["none", "contrast"])
def test_a_first_convolution_may_keep_the_size(side: int, channels: tuple[int, ...], norm: str) -> None:
    torch.manual_seed(0)
    backbone = ConvNet(channels=channels, norm=norm, first_stride=1, features=5).build(Encoding(shape=(1, side, side)))
    rows = torch.rand(3, 1, side, side)
    assert backbone.blocks[0](rows).shape == (3, channels[0], side, side)
    restored = backbone.mirror()(backbone(rows))
    assert restored.shape == rows.shape
    assert restored.isfinite().all()


def test_layers_are_maps_of_at_most_seven_by_seven() -> None:
    backbone = ConvNet(channels=(3, 4, 5), features=6).build(Encoding(shape=(1, 28, 28)))
    found = backbone.layers(torch.rand(2, 1, 28, 28))
    assert [layer.shape for layer in found] == [(2, 3 * 49), (2, 4 * 49), (2, 5 * 16), (2, 6)]


def series(rows: int, steps: int) -> Tensor:
    values = torch.randn(rows, 3, steps, generator=torch.Generator().manual_seed(1))
    values[:, -1] = 1
    return values


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_series_is_convolved_in_time(kernel: int) -> None:
    torch.manual_seed(0)
    config = ConvNet(channels=(4, 6), kernel_size=kernel, features=5, activation="relu")
    backbone = config.build(Encoding(shape=(3, 10)))
    rows = series(2, 10)
    rows[1, :, 7:] = 0
    maps, weights = rows, dict(backbone.named_parameters())
    for block in range(2):
        weight, bias = weights[f"blocks.{block}.0.weight"], weights[f"blocks.{block}.0.bias"]
        maps = F.relu(F.conv1d(maps, weight, bias, stride=2, padding=kernel // 2))
    assert maps.shape == (2, 6, 3)
    expected = F.relu(F.linear(maps.flatten(1), weights["last.0.weight"], weights["last.0.bias"]))
    assert torch.equal(backbone(rows), expected)
    assert torch.equal(backbone.layers(rows)[1], maps.flatten(1))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("norm", ["none", "group", "contrast"])
def test_series_down_to_one_step_are_told_apart_and_rebuilt(steps: int, norm: str) -> None:
    torch.manual_seed(0)
    backbone = ConvNet(channels=(8, 8, 8), norm=norm, features=6).build(Encoding(shape=(3, steps)))
    rows = series(5, steps)
    assert backbone(rows).std(0).max() > 1e-5
    restored = backbone.mirror()(backbone(rows))
    assert restored.shape == rows.shape
    assert restored.isfinite().all()


def test_what_was_not_observed_is_seen_by_nobody() -> None:
    torch.manual_seed(0)
    backbone = ConvNet(channels=(4, 6), features=5).build(Encoding(shape=(3, 9)))
    rows = series(2, 9)
    rows[0, -1, 3], rows[1, -1, 6:] = 0, 0  # a gap, and padding behind a shorter series
    other = rows.clone()
    other[0, :2, 3], other[1, :2, 6:] = 77, -77
    assert torch.equal(backbone(rows), backbone(other))
    for one, same in zip(backbone.layers(rows), backbone.layers(other), strict=True):
        assert torch.equal(one, same)
    assert backbone(torch.zeros(1, 3, 9)).isfinite().all()


def test_layers_of_a_series_are_maps_of_at_most_sixteen_steps() -> None:
    backbone = ConvNet(channels=(3, 4, 5), features=6).build(Encoding(shape=(2, 50)))
    found = backbone.layers(torch.ones(2, 2, 50))
    assert [layer.shape for layer in found] == [(2, 3 * 16), (2, 4 * 13), (2, 5 * 7), (2, 6)]
