"""In which arithmetic a step computes, and how maps lie in memory for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from app.ml.configs.training import TrainingConfig

_MULTIPLIES = ("amx_bf16", "avx512_bf16")


def precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[object]:
    """What a forward pass runs under: bfloat16 for matrix products where asked for, weights stay float32."""
    if not computes_in_bfloat16(config, device):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def computes_in_bfloat16(config: TrainingConfig, device: torch.device) -> bool:
    """As configured; native means what the device itself is able to do."""
    if config.precision == "native":
        return multiplies_bfloat16(device)
    return config.precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; a CPU that emulates it is slower than in float32.

    CPUs do so by matrices (AMX) or by vectors (AVX-512 BF16), which is about twice as fast as float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(torch.cpu.get_capabilities().get(name, False) for name in _MULTIPLIES)


def lay_out(module: nn.Module) -> None:
    """Give convolutions their maps with channels last while they compute in bfloat16: a fifth faster.

    Weights lie as ever, so that optimizer state, checkpoints and models do not depend on it; nor do measurements,
    which are taken in float32.
    """
    for one in module.modules():
        if isinstance(one, nn.Conv2d | nn.ConvTranspose2d):
            one.register_forward_pre_hook(_channels_last)


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    maps: Tensor = inputs[0]
    if not torch.is_autocast_enabled(maps.device.type):
        return None
    return (maps.contiguous(memory_format=torch.channels_last), *inputs[1:])
