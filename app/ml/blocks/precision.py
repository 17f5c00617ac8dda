"""Full precision for parts of a network inside autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off inside; the meta device, where only shapes are computed, has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
