"""Features of a backbone's layers, and their widths."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from app.ml.interfaces import Backbone


def layered_features(backbone: Backbone, inputs: Tensor, layer: Literal["last", "all"] | int) -> Tensor:
    """Compute one layer's features (B, F) of rows (B, *shape), or concatenate all layers'."""
    if layer == "last":
        return backbone(inputs)  # type: ignore[no-any-return]
    return of_layer(backbone.layers(inputs), str(layer))


def of_layer(layers: Sequence[Tensor], source: str) -> Tensor:
    """Return the features (B, F) that a strategy's `source` names, of the features (B, F_i) of all layers."""
    if source == "all":
        return torch.cat(list(layers), dim=1)
    return layers[-1 if source == "last" else int(source)]


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
