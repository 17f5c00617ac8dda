"""Features of a frozen backbone: computed once, and cached for other trainings where the caller has a cache."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.ml.data import tensor_file
from app.ml.interfaces import Backbone, Modality, Rows

GetOrCompute = Callable[[str, Callable[[], Tensor]], Tensor]
"""A cache: takes a key and how to compute the tensor; returns the cached tensor, or computes and caches it."""


def uncached(key: str, compute: Callable[[], Tensor]) -> Tensor:  # noqa: ARG001 - a cache takes a key
    """Compute every time: the cache of callers that have none."""
    return compute()


def feature_key(
    backbone: Backbone, modality: Modality, rows: Rows, source: str, config: Any, weights: str | None = None
) -> str:
    """A digest of all that features depend on but the stored rows themselves.

    That is the weights, the backbone's `config`, preprocessing, positions of the rows (n,), which layers, and what
    computes them. `weights` is the SHA-256 of the backbone's file, which is that of the weights, where it is known.
    """
    weights = weights or hashlib.sha256(tensor_file.to_bytes(backbone.state_dict())).hexdigest()
    positions = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()
    device = next(backbone.parameters()).device.type
    # The device's type and the torch release belong to it: other kernels give other last bits.
    parts = [weights, config.model_dump_json(), modality.model_dump_json(), positions, source, device]
    return hashlib.sha256(json.dumps([*parts, str(torch.__version__)]).encode()).hexdigest()
