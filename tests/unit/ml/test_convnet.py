"""Group normalisation leaves every map something to say, however few its pixels; layers are pooled."""

import pytest
import torch
from torch import nn

from app.ml.backbones.convnet import ConvNet
from app.ml.interfaces import Encoding


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


def test_layers_are_maps_of_at_most_seven_by_seven() -> None:
    backbone = ConvNet(channels=(3, 4, 5), features=6).build(Encoding(shape=(1, 28, 28)))
    found = backbone.layers(torch.rand(2, 1, 28, 28))
    assert [layer.shape for layer in found] == [(2, 3 * 49), (2, 4 * 49), (2, 5 * 16), (2, 6)]
