"""The base classes of loss balancing: how the losses of several heads become the one that is minimised."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from app.ml.blocks.shards import rank_mean
from app.ml.errors import ConfigError
from app.ml.interfaces import Config, HeadConfig, ParamGroup


class BalancingConfig(Config, ABC):
    """A choice of how several heads share a backbone."""

    needs_positive: ClassVar[bool] = False  # whether it makes no sense of a loss below 0

    def check(self, heads: Sequence[HeadConfig]) -> None:
        """Raises `ConfigError` where these heads cannot be balanced so."""
        signed = next((head for head in heads if head.signed), None)
        if self.needs_positive and signed is not None:
            msg = f"the loss of head {signed.key!r} may be below 0, which {self.kind} makes no sense of: choose another"
            raise ConfigError(("kind",), msg)

    @abstractmethod
    def build(self, heads: Sequence[HeadConfig]) -> "LossBalancer":
        """Build it for these heads, in order."""


@dataclass(frozen=True, slots=True)
class TaskLosses:
    """The losses (T,) of a step's T heads, whether any row of the batch carries each target, and what trains.

    `shared` are the backbone's parameters that train in this step, `last` those of the last stage that has any, `own`
    the heads'.
    """

    losses: Tensor
    present: Tensor  # bool (T,)
    shared: list[nn.Parameter]
    last: list[nn.Parameter]
    own: list[nn.Parameter]


class LossBalancer(nn.Module, ABC):
    """Combines losses into one. Its state is saved with the training; it draws from torch's global generator."""

    reads_gradients: ClassVar[bool] = False  # whether it asks for gradients by the backbone's weights

    @abstractmethod
    def combine(self, tasks: TaskLosses) -> tuple[Tensor, Tensor | None]:
        """Return the scalar to minimise, and the weights of the heads (T,) to report, None where they are fixed.

        No value is read from the device here: that would make the CPU wait for the GPU.
        """

    def total(self, losses: Tensor) -> Tensor:
        """The loss that is reported of losses (T,): their plain sum, so that trainings can be compared."""
        return losses.sum()

    def groups(self) -> list[ParamGroup]:
        """Parameter groups of its own, in addition to those of backbone and heads."""
        return []


def gradients(losses: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Gradients of every loss (T,) by all parameters, flattened to (T, D). The graph is kept."""
    if not parameters:
        return losses.new_zeros(len(losses), 0)
    rows = []
    for loss in losses:
        parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return rank_mean(torch.stack(rows))


def with_gradient(value: Tensor, parameters: list[nn.Parameter], gradient: Tensor) -> Tensor:
    """Return `value` () with the given gradient by the parameters, flattened (D,), in place of its own."""
    return _PrecomputedGradient.apply(value.detach(), gradient, *parameters)  # type: ignore[no-any-return, no-untyped-call]


class _PrecomputedGradient(torch.autograd.Function):
    """A value whose gradient by some parameters was computed before."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, *parameters)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor | None, ...]:
        gradient, *parameters = ctx.saved_tensors
        sizes = [parameter.numel() for parameter in parameters]
        parts = torch.split(gradient, sizes)
        gradients = (
            upstream[0] * part.view_as(parameter).to(parameter)
            for part, parameter in zip(parts, parameters, strict=True)
        )
        return None, None, *gradients
