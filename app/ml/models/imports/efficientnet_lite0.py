"""The published weights of EfficientNet-Lite0 to Lite2 (ImageNet): names and shapes as PyTorch ports have them.

`_conv_stem`, `_blocks.N` counted over all stages, `_conv_head`; the last layer over ImageNet's classes is passed over.
"""

from collections.abc import Iterator

import torch

from app.ml.data.tensor_file import Tensors
from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.efficientnet_lite0 import (
    STAGES,
    EfficientNetLite0,
    EfficientNetLite0Backbone,
    block_counts,
)
from app.ml.kinds.modalities.image import ImageModality
from app.ml.models.imports.weights import Weights

CONFIGS = {
    "efficientnet_lite0": EfficientNetLite0(),
    "efficientnet_lite1": EfficientNetLite0(depth=1.1, fixed_ends=True),
    "efficientnet_lite2": EfficientNetLite0(width=1.1, depth=1.2, fixed_ends=True),
}
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}  # that they were trained at
_PASSED_OVER = ("_fc.weight", "_fc.bias")
_FIGURES = ("weight", "bias", "running_mean", "running_var")


def modality(side: int) -> ImageModality:
    """Square RGB images."""
    return ImageModality(height=side, width=side, channels=3)


def load(weights: Weights, config: EfficientNetLite0, encoding: Encoding) -> EfficientNetLite0Backbone:
    """The backbone with these weights. Raises `WeightsError`."""
    with torch.device("meta"):
        backbone = config.build(encoding)
    names = dict(_names(config))
    own = backbone.state_dict()
    expected = {source: tuple(own[target].shape) for target, source in names.items()}
    weights.check(expected, _is_passed_over)
    tensors: Tensors = {target: weights.take(source) for target, source in names.items()}
    counts = {name: torch.zeros((), dtype=torch.int64) for name in own if name.endswith("num_batches_tracked")}
    backbone.load_state_dict(tensors | counts, assign=True)
    return backbone


def _is_passed_over(name: str) -> bool:
    return name in _PASSED_OVER or name.endswith(".num_batches_tracked")


def _names(config: EfficientNetLite0) -> Iterator[tuple[str, str]]:
    """Our name and source of every tensor."""
    yield from _convolution("parts.0", "_conv_stem", "_bn0")
    number = 0
    for stage, ((expansion, *_), blocks) in enumerate(zip(STAGES, block_counts(config), strict=True), start=1):
        for index in range(blocks):
            target, source = f"parts.{stage}.{index}", f"_blocks.{number}"
            if expansion > 1:
                yield from _convolution(f"{target}.expand", f"{source}._expand_conv", f"{source}._bn0")
            yield from _convolution(f"{target}.depthwise", f"{source}._depthwise_conv", f"{source}._bn1")
            yield from _convolution(f"{target}.project", f"{source}._project_conv", f"{source}._bn2")
            number += 1
    yield from _convolution(f"parts.{len(STAGES) + 1}", "_conv_head", "_bn1")


def _convolution(target: str, convolution: str, norm: str) -> Iterator[tuple[str, str]]:
    yield f"{target}.0.weight", f"{convolution}.weight"
    for figure in _FIGURES:
        yield f"{target}.1.{figure}", f"{norm}.{figure}"
