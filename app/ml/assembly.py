"""Configs to modules. Fresh weights come from torch's global generator: call `torch.manual_seed(seed)` first."""

from typing import Any

import torch
from torch import Tensor, nn

from app.ml.backbones import AnyBackbone
from app.ml.heads import AnyHead
from app.ml.interfaces import Backbone, Batch, Head, Losses, Objective, ParamGroup, Shape, StrategyConfig
from app.ml.spec import DataSpec


def count_parameters(config: AnyBackbone, input_shape: Shape, heads: tuple[AnyHead, ...], spec: DataSpec) -> int:
    """How many numbers a backbone with its mirror, or with its heads, would train; nothing is allocated."""
    with torch.device("meta"):
        backbone = config.build(input_shape)
        other = build_heads(heads, backbone.features, spec) if heads else backbone.mirror()
        return sum(parameter.numel() for module in (backbone, other) for parameter in module.parameters())


def encoded_shape(spec: DataSpec) -> Shape:
    """The largest shape that a dataset's encoded rows can have, before preprocessing is fitted."""
    if spec.modality == "image":
        height, width, channels = spec.shape
        return (channels, height, width)
    return (sum(len(column.categories) + 1 if column.categories else 2 for column in spec.columns),)


def build_heads(configs: tuple[AnyHead, ...], features: int, spec: DataSpec) -> nn.ModuleDict:
    """One head per config, in order, under keys "0", "1", ... (names of users may hold dots)."""
    heads = nn.ModuleDict()
    for index, config in enumerate(configs):
        target = spec.target(config.target)
        assert target is not None, config.target  # noqa: S101 - for programmers: recipes refuse it
        heads[str(index)] = config.build(features, target)
    return heads


class FineTuning(Objective):
    """Backbone and heads under a strategy; the loss is the sum of the heads' losses.

    Where the strategy caches features, a batch's inputs are features (B, F); else rows (B, *shape).
    """

    def __init__(
        self, backbone: Backbone, heads: nn.ModuleDict, configs: tuple[AnyHead, ...], strategy: StrategyConfig
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.configs = configs
        self.strategy = strategy
        self._groups = strategy.groups(backbone, heads)
        trained = {id(parameter) for group in self._groups for parameter in group.params}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in trained)

    def train(self, mode: bool = True) -> "FineTuning":
        """As usual, except that a frozen backbone stays in eval mode (no dropout on features that are kept)."""
        super().train(mode)
        if self.strategy.caches_features:
            self.backbone.eval()
        return self

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss and, with several heads, each head's under its key."""
        return self.losses_of(self.outputs(batch.inputs), batch.targets)

    def losses_of(self, outputs: list[Tensor], targets: dict[str, Tensor]) -> Losses:
        """The same from every head's raw output; a head's is a mean over the rows that carry its target."""
        losses = [
            head.loss(output, targets[config.target])
            for config, head, output in zip(self.configs, self._heads(), outputs, strict=True)
        ]
        if len(losses) == 1:
            return {"loss": losses[0]}
        parts = {config.key: loss.detach() for config, loss in zip(self.configs, losses, strict=True)}
        return {**parts, "loss": torch.stack(losses).sum()}

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """Every head's raw output (B, K)."""
        features = inputs if self.strategy.caches_features else self.backbone(inputs)
        return [head(features) for head in self._heads()]

    def evaluate(self, outputs: list[Tensor], targets: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
        """Every head's metrics over a whole split, by the head's key."""
        return {
            config.key: head.evaluate(output, targets[config.target])
            for config, head, output in zip(self.configs, self._heads(), outputs, strict=True)
        }

    def groups(self) -> list[ParamGroup]:
        """The strategy's."""
        return self._groups

    def _heads(self) -> list[Head]:
        return [head for head in self.heads.values() if isinstance(head, Head)]
