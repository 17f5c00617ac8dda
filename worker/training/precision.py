"""The arithmetic that a training step computes in, and how feature maps lie in memory for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from app.ml.configs.training import ResolvedTraining

# What a CPU must be able to do to multiply bfloat16: by matrices (AMX) or by vectors (AVX-512 BF16).
_CPU_CAPABILITIES = ("amx_bf16", "avx512_bf16")


def precision(config: ResolvedTraining, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass: matrix products in bfloat16 where that is configured. Weights stay float32."""
    if not computes_in_bfloat16(config, device):
        return nullcontext()
    # Without a cache: autocast would keep bfloat16 copies of the weights until the context ends.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def computes_in_bfloat16(config: ResolvedTraining, device: torch.device) -> bool:
    """Whether a training computes in bfloat16: as configured, and for "native" if the device does so in hardware."""
    if config.precision == "native":
        return multiplies_bfloat16(device)
    return config.precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; a CPU that emulates it is slower than in float32.

    CPUs that do so are about twice as fast as in float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in _CPU_CAPABILITIES)


def use_channels_last(module: nn.Module) -> None:
    """Give convolutions their maps (B, C, H, W) with channels last while they compute in bfloat16: a fifth faster.

    Only inputs are laid out anew. Weights lie as ever, so that optimizer state, checkpoints and models do not depend
    on it; nor do evaluations, which compute in float32.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_pre_hook(_channels_last)


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    maps: Tensor = inputs[0]  # (B, C, H, W)
    if not torch.is_autocast_enabled(maps.device.type):
        return None
    return (maps.contiguous(memory_format=torch.channels_last), *inputs[1:])
