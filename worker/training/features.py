"""Features of a frozen backbone: computed once, and kept for other trainings where the caller can."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.ml.interfaces import Backbone, Modality, Rows
from app.ml.models import checkpoint

Keeper = Callable[[str, Callable[[], Tensor]], Tensor]
"""A key and how to compute; returns the tensor, computed now or by whoever had the same key before."""


def computed(key: str, compute: Callable[[], Tensor]) -> Tensor:  # noqa: ARG001 - nothing is kept
    """The keeper that keeps nothing."""
    return compute()


def feature_key(backbone: Backbone, modality: Modality, rows: Rows, source: str, config: Any) -> str:
    """A digest of all that features depend on but the stored rows themselves.

    That is the weights, the backbone's `config`, preprocessing, positions of the rows (n,), which layers, and what
    computes them.
    """
    weights = hashlib.sha256(checkpoint.to_bytes(backbone.state_dict())).hexdigest()
    positions = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()
    device = next(backbone.parameters()).device.type
    parts = [weights, config.model_dump_json(), modality.model_dump_json(), positions, source, device]
    return hashlib.sha256(json.dumps([*parts, str(torch.__version__)]).encode()).hexdigest()
