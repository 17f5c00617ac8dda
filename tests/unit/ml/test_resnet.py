"""Residual networks: the published shape, the formula of a block, and rows that do not depend on each other."""

import copy

import pytest
import torch
from torch import nn

from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.resnet import ResidualBlock, ResNet


def test_the_published_eighteen_layers_have_their_published_size() -> None:
    config = ResNet(widths=(64, 128, 256, 512), blocks=2, stem="large")
    with torch.device("meta"):
        backbone = config.build(Encoding(shape=(3, 224, 224)))
        features = backbone(torch.empty(2, 3, 224, 224))
    parameters = sum(one.numel() for one in backbone.parameters())
    assert parameters == 11_176_512  # ResNet-18's 11,689,512 less the classifier's 513,000
    assert features.shape == (2, 512)


def test_a_block_is_its_formula() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(3, 5, 2, "batch").eval()
    inputs = torch.randn(2, 3, 7, 7)
    conv_1, norm_1, _, conv_2, norm_2 = block.change
    changed = norm_2(conv_2(norm_1(conv_1(inputs)).relu()))
    shortcut = block.shortcut[1](block.shortcut[0](inputs))
    assert torch.equal(block(inputs), (changed + shortcut).relu())
    assert isinstance(ResidualBlock(5, 5, 1, "batch").shortcut, nn.Identity)


@pytest.mark.parametrize(("stem", "sides"), [("small", [28, 28, 14, 7]), ("halving", [14, 14, 7, 4])])
def test_every_stage_after_the_first_halves_the_image(stem: str, sides: list[int]) -> None:
    backbone = ResNet(stem=stem).build(Encoding(shape=(1, 28, 28)))  # type: ignore[arg-type]
    maps = backbone._maps(torch.rand(2, 1, 28, 28))
    assert [one.shape[2] for one in maps] == sides
    assert [one.shape[1] for one in backbone.layers(torch.rand(2, 1, 28, 28))] == [32 * 16, 32 * 16, 64 * 16, 2048, 128]


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_rows_do_not_depend_on_each_other_in_eval_mode(norm: str) -> None:
    torch.manual_seed(0)
    backbone = ResNet(widths=(8, 16), norm=norm).build(Encoding(shape=(3, 16, 16)))  # type: ignore[arg-type]
    rows = torch.rand(6, 3, 16, 16)
    backbone(rows)  # running figures move
    backbone.eval()
    together = backbone(rows)
    assert torch.allclose(together[2:3], backbone(rows[2:3]), atol=1e-6)


def test_one_row_of_one_pixel_trains_with_batch_normalisation() -> None:
    """Its variance does not exist: the running figures stand in."""
    torch.manual_seed(0)
    backbone = ResNet(widths=(8, 16), stem="halving").build(Encoding(shape=(1, 4, 4)))
    running = copy.deepcopy(dict(backbone.named_buffers()))
    features = backbone(torch.rand(1, 1, 4, 4))
    features.sum().backward()
    assert features.isfinite().all()
    moved = [name for name, value in backbone.named_buffers() if not torch.equal(value, running[name])]
    assert moved, "larger maps still count"


def test_channels_last_changes_nothing_but_the_layout() -> None:
    torch.manual_seed(0)
    backbone = ResNet(widths=(8, 16)).build(Encoding(shape=(3, 16, 16))).eval()
    rows = torch.rand(4, 3, 16, 16)
    plain = rows
    for part in backbone.parts:
        plain = part(plain)
    assert torch.allclose(backbone(rows), plain.mean((2, 3)), atol=1e-6)
    assert all(one.is_contiguous() for one in backbone.state_dict().values()), "files hold plain arrays"
