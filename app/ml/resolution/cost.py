"""How many steps a pretraining takes at most by default, so that it ends in minutes on two cores.

Nothing is measured: operations are counted from the network's weights, so that the same request is always resolved the
same. A core does 2e10 operations a second and more; convolutions were measured at about twice that, and the matrix
products of transformers at five to ten times.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from app.ml.interfaces import Backbone, Encoding
from app.ml.interfaces.abilities import Sequences
from app.ml.models.assembly import count_parameters
from app.ml.spec import DataSpec

_MAX_OPERATIONS = 1.2e13  # of a default pretraining: ten minutes at 2e10 a second, as measured one to five
_MAX_OPERATIONS_OF_TEXTS = 2.4e13
_FORWARD_AND_BACKWARD = 3  # times the forward pass: the backward pass costs about twice as much


def max_steps(backbone: Backbone, spec: DataSpec, passes: int, batch_size: int) -> int:
    """The optimizer steps that a default pretraining of a backbone on the meta device may take.

    Each runs the backbone `passes` times on its rows.
    """
    most = _MAX_OPERATIONS_OF_TEXTS if spec.modality == "text" else _MAX_OPERATIONS
    step = _FORWARD_AND_BACKWARD * passes * batch_size * row_operations(backbone, spec)
    return int(most / max(step, 1.0))


def row_operations(backbone: Backbone, spec: DataSpec) -> float:
    """Operations of a backbone's forward pass on one row: two for each use of a weight."""
    if isinstance(backbone, Sequences):
        # Every weight is used in every step. A text has hardly more tokens than characters.
        length = min(backbone.encoding.shape[-1], spec.shape[0])
        embeddings = sum(each.weight.numel() for each in backbone.modules() if isinstance(each, nn.Embedding))
        return 2.0 * (count_parameters(backbone) - embeddings) * length
    return _counted_operations(backbone, backbone.encoding)


@torch.no_grad()
def _counted_operations(backbone: Backbone, encoding: Encoding) -> float:
    """The operations of all layers with weights in a forward pass on the meta device, which computes nothing."""
    counts: list[float] = []

    def count(layer: nn.Module, _: Any, output: Any) -> None:
        weight = getattr(layer, "weight", None)
        if isinstance(output, Tensor) and isinstance(weight, Tensor) and weight.ndim > 1:
            # (B, K, ...) of a convolution and (B, ..., K) of a linear layer: each of the K outputs takes 1 / K of the
            # weights in every place.
            counts.append(2.0 * weight.numel() * math.prod(output.shape) / weight.shape[0])

    handles = [layer.register_forward_hook(count) for layer in backbone.modules()]
    dtype = torch.float32 if encoding.vocabulary is None else torch.int64
    try:
        backbone.eval()(torch.zeros((1, *encoding.shape), dtype=dtype, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)
