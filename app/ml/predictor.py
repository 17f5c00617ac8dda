"""Answers from a model in memory: JSON rows to features and to every head's answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.ml.bundle import Bundle, Manifest, read_bundle
from app.ml.interfaces import Backbone, Rows, each_block, rows_per_block


class Predictor:
    """A model ready to answer. Nothing in it changes, so any number of threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @property
    def manifest(self) -> Manifest:
        """What the model is."""
        return self.bundle.manifest

    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON values to rows as stored (N, ...). Raises `InputError` naming every bad input."""
        return self.manifest.modality.decode(inputs)

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Rows as stored to one answer per row, {head key: JSON}."""
        return self.answer(self.features(rows))

    def embed(self, rows: Rows) -> NDArray[np.float32]:
        """Rows as stored to features (N, F)."""
        return self.features(rows).numpy()

    @torch.inference_mode()
    def features(self, rows: Rows) -> Tensor:
        """Rows as stored to features (N, F): once for all the heads of a backbone."""
        modality, backbone = self.manifest.modality, self.bundle.backbone
        blocks = each_block(len(rows), rows_per_block(modality.shape))  # bounds the memory of a large request
        return torch.cat([backbone(modality.encode(rows[block])) for block in blocks])

    @torch.inference_mode()
    def answer(self, features: Tensor) -> list[dict[str, Any]]:
        """Features (N, F), also from another model with the same backbone, to one answer per row."""
        answers = {key: head.predict(head(features)) for key, head in self.bundle.heads.items()}
        return [{key: answers[key][row] for key in answers} for row in range(len(features))]


def load_bundle(folder: Path, known: Mapping[str, Backbone] | None = None) -> Predictor:
    """Load a model and replay its golden rows. Raises `CorruptModelError`."""
    return Predictor(read_bundle(folder, known))
