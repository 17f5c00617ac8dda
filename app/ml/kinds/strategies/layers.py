"""Features of a backbone's layers, and their widths."""

from typing import Literal

import torch
from torch import Tensor

from app.ml.interfaces import Backbone


def layered_features(backbone: Backbone, inputs: Tensor, layer: Literal["last", "all"] | int) -> Tensor:
    """Compute one layer's features (B, F) of rows (B, *shape), or concatenate all layers'."""
    if layer == "last":
        return backbone(inputs)  # type: ignore[no-any-return]
    layers = backbone.layers(inputs)
    return torch.cat(layers, dim=1) if layer == "all" else layers[layer]


@torch.no_grad()
def layer_widths(backbone: Backbone) -> tuple[int, ...]:
    """Number of features of every layer, from the shapes of a row of zeros; works on the meta device too."""
    encoding = backbone.encoding
    dtype = torch.float32 if encoding.vocabulary is None else torch.int64
    device = next(backbone.parameters()).device
    trains = backbone.training
    layers = backbone.eval().layers(torch.zeros((1, *encoding.shape), dtype=dtype, device=device))
    backbone.train(trains)
    return tuple(layer.shape[1] for layer in layers)
