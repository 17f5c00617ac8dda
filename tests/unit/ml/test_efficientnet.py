"""EfficientNet-Lite0 and its import against an independent forward pass over the checkpoint's raw tensors."""

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor

from app.ml.errors import WeightsError
from app.ml.kinds.backbones.efficientnet_lite0 import rounded
from app.ml.models.bundle import Bundle
from app.ml.models.imports import ImportRequest, import_model
from app.ml.models.imports.published import read_published
from tests.support.weights import CHECKPOINT, as_file, member

# Of every block: stride, side of the window; whether it expands, the tensors say.
BLOCKS = [(1, 3), (2, 3), (1, 3), (2, 5), (1, 5), (2, 3), (1, 3), (1, 3), (1, 5), (1, 5), (1, 5)]
BLOCKS += [(2, 5), (1, 5), (1, 5), (1, 5), (1, 3)]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    content = member("efficientnet_lite0", CHECKPOINT)
    return read_published(content, hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights"
    path.write_bytes(member("efficientnet_lite0", CHECKPOINT))
    return path


@pytest.fixture(scope="module")
def bundle(path: Path) -> Bundle:
    return import_model(ImportRequest("efficientnet_lite0", path))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A Chinese palace and a flower, the square in their middle, (2, 224, 224, 3)."""
    found = []
    for pixels in load_sample_images().images:
        picture = PIL.Image.fromarray(pixels)
        (width, height), side = picture.size, min(picture.size)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side)).resize((224, 224), PIL.Image.Resampling.BICUBIC)
        found.append(np.asarray(picture))
    return np.stack(found)


def convolve(maps: Tensor, kernel: Tensor, stride: int, groups: int) -> Tensor:
    """As TensorFlow pads: so that a side s becomes ceil(s / stride), the odd row and column at the end."""
    side, size = maps.shape[-1], kernel.shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    before, after = total // 2, total - total // 2
    return F.conv2d(F.pad(maps, (before, after, before, after)), kernel, stride=stride, groups=groups)


def reference(tensors: dict[str, Tensor], pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """ImageNet's logits, (B, 1000)."""

    def norm(maps: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            tensors[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / torch.sqrt(var + 1e-3) * weight + bias

    maps = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    maps = norm(convolve(maps, tensors["_conv_stem.weight"], 2, 1), "_bn0").clamp(0, 6)
    for number, (stride, side) in enumerate(BLOCKS):
        name, inputs = f"_blocks.{number}", maps
        if f"{name}._expand_conv.weight" in tensors:
            maps = norm(convolve(maps, tensors[f"{name}._expand_conv.weight"], 1, 1), f"{name}._bn0").clamp(0, 6)
        kernel = tensors[f"{name}._depthwise_conv.weight"]
        assert kernel.shape[-1] == side
        maps = norm(convolve(maps, kernel, stride, len(kernel)), f"{name}._bn1").clamp(0, 6)
        maps = norm(convolve(maps, tensors[f"{name}._project_conv.weight"], 1, 1), f"{name}._bn2")
        if maps.shape == inputs.shape:
            maps = maps + inputs
    maps = norm(convolve(maps, tensors["_conv_head.weight"], 1, 1), "_bn1").clamp(0, 6)
    return maps.mean((2, 3)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]


@torch.no_grad()
def test_photographs_are_what_imagenet_calls_them(
    bundle: Bundle, tensors: dict[str, Tensor], photographs: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    features = bundle.backbone(bundle.manifest.modality.encode(photographs))
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert torch.allclose(logits, reference(tensors, photographs), atol=1e-3)
    palace, daisy = logits.topk(3).indices.tolist()
    assert palace[0] == 698  # palace; then bell cote and monastery
    assert set(palace) == {698, 442, 663}
    assert daisy[0] == 985  # daisy


@torch.no_grad()
def test_every_layer_gives_features_and_any_size_will_do(path: Path, bundle: Bundle) -> None:
    layers = bundle.backbone.layers(torch.rand(2, 3, 224, 224))
    assert [layer.shape[1] for layer in layers] == [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    assert len(bundle.backbone.stages()) == 9
    little = import_model(ImportRequest("efficientnet_lite0", path, side=40))
    assert little.manifest.modality.shape == (3, 40, 40)
    assert little.backbone(torch.rand(1, 3, 40, 40)).shape == (1, 1280)


def test_safetensors_with_the_same_names_are_the_same_model(
    tmp_path: Path, bundle: Bundle, tensors: dict[str, Tensor]
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(as_file({name: one for name, one in tensors.items() if not name.startswith("_fc")}))
    again = import_model(ImportRequest("efficientnet_lite0", path))
    own = bundle.backbone.state_dict()
    assert all(torch.equal(own[name], one) for name, one in again.backbone.state_dict().items())
    path.write_bytes(as_file({name: one for name, one in tensors.items() if name != "_conv_head.weight"}))
    with pytest.raises(WeightsError, match="lacks _conv_head"):
        import_model(ImportRequest("efficientnet_lite0", path))


@pytest.mark.parametrize(
    ("channels", "expected"), [(16, 16), (4, 8), (10, 16), (80 * 0.25, 24), (28, 32), (40 * 1.1, 48)]
)
def test_channels_are_rounded_as_published(channels: float, expected: int) -> None:
    assert rounded(channels) == expected
