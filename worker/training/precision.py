"""In which arithmetic a step computes."""

from contextlib import AbstractContextManager, nullcontext

import torch

from app.ml.training import TrainingConfig


def precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[object]:
    """What a forward pass runs under: bfloat16 for matrix products where asked for, weights stay float32."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
