"""In which arithmetic a part of a network computes."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Computes inside as if there were no autocast; the meta device, where shapes are looked up, knows none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
