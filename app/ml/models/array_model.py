"""A model of fully connected layers as NumPy, which answers a few rows in a third of the time that torch takes.

Torch's calls cost microseconds each where the arithmetic of a row costs one. A network that has no such form, stands on
another device, or comes out otherwise than by torch, is torch's alone.
"""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Self

import numpy as np
import torch

from app.ml.blocks.arrays import Array, ArrayLayer, array_blocks
from app.ml.interfaces.head_answers import Answers
from app.ml.kinds.heads.stacking import LinearOrDeep
from app.ml.models.bundle import CPU, GOLDEN_ROWS, Bundle, are_close

log = logging.getLogger(__name__)

MAX_MULTIPLICATIONS = 1 << 25  # of a batch: more are worth torch's threads, and its calls no longer count
Layers = Sequence[ArrayLayer]


class ArrayModel:
    """The networks of a bundle, sharing its weights. Safe to use from several threads."""

    def __init__(
        self, blocks: Sequence[Layers], heads: Mapping[str, tuple[LinearOrDeep, Layers]], weights: int
    ) -> None:
        self._blocks = blocks
        self._heads = heads
        self.max_rows = MAX_MULTIPLICATIONS // max(weights, 1)

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """Return the model as arrays; None where a part of it has no such form, or another output by it."""
        dense = bundle.backbone.dense_blocks() if bundle.device == CPU else None
        blocks = None if dense is None else array_blocks(dense)
        heads = {key: (head, head.array_layers) for key, head in bundle.heads.items() if isinstance(head, LinearOrDeep)}
        known = {key: (head, layers) for key, (head, layers) in heads.items() if layers is not None}
        if blocks is None or known.keys() != bundle.heads.keys():
            return None
        modules = (bundle.backbone, *bundle.heads.values())
        weights = sum(parameter.numel() for module in modules for parameter in module.parameters())
        model = cls(blocks, known, weights)
        return model if model._is_as(bundle) else None

    def features(self, encoded: Array, source: str) -> Array:
        """Encoded rows (N, *shape) to the features (N, F) that a strategy's `source` names."""
        values = encoded.reshape(len(encoded), math.prod(encoded.shape[1:]))
        activations = [values := through(block, values) for block in self._blocks]
        if source == "all":
            return np.concatenate(activations, axis=1)
        return activations[-1 if source == "last" else int(source)]

    def answers(self, features: Array, keys: Collection[str] | None = None) -> dict[str, Answers]:
        """Features (N, F) to the answers of every head, or of those with the keys, by key."""
        return {
            key: head.answer(through(layers, features))
            for key, (head, layers) in self._heads.items()
            if keys is None or key in keys
        }

    def _is_as(self, bundle: Bundle) -> bool:
        """Whether made-up rows come out as they do by torch."""
        modality, strategy = bundle.manifest.modality, bundle.manifest.strategy
        encoded = modality.encoded(modality.specimens(GOLDEN_ROWS))
        with torch.inference_mode():
            by_torch = {"": bundle.backbone(torch.from_numpy(encoded)), **bundle.outputs(torch.from_numpy(encoded))}
        by_numpy = {"": self.features(encoded, "last")}
        if strategy is not None:
            features = self.features(encoded, strategy.source)
            by_numpy |= {key: through(layers, features) for key, (_, layers) in self._heads.items()}
        is_same = all(are_close(output, torch.from_numpy(by_numpy[key])) for key, output in by_torch.items())
        if not is_same:
            log.warning("a model comes out otherwise by NumPy than by torch, which computes it from now on")
        return is_same


def through(layers: Layers, values: Array) -> Array:
    """Send (N, F) through the layers."""
    for layer in layers:
        values = layer(values)
    return values
