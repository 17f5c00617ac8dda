"""Configs to modules. Fresh weights come from torch's global generator: call `torch.manual_seed(seed)` first."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.ml.blocks.shards import all_rows, row_mean, total
from app.ml.evaluation.outcomes import Outcomes
from app.ml.interfaces import Backbone, Batch, Head, HeadConfig, Losses, Objective, ParamGroup
from app.ml.interfaces.abilities import Sequences
from app.ml.kinds.balancing.base import BalancingConfig, TaskLosses
from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.learning.task_affinity import Affinity
from app.ml.solvers.solution import Fit
from app.ml.spec import DataSpec, TargetSpec

_STEPS = "steps"  # the source of features of every step

MAX_PARAMETERS = 500_000_000  # of a network; what has more is refused


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers a module trains."""
    return sum(parameter.numel() for parameter in module.parameters())


def targets_of(config: HeadConfig, spec: DataSpec) -> tuple[TargetSpec, ...]:
    """Return the dataset's targets that a head answers; none for one that learns from the rows themselves."""
    targets = tuple(target for target in map(spec.target, config.targets) if target is not None)
    assert len(targets) == len(config.targets), config.targets
    return targets


def head_width(config: HeadConfig, strategy: StrategyConfig | None, backbone: Backbone) -> int:
    """Return how many features a head gets, of a row or of every step."""
    if "sequence" in config.needs:
        assert isinstance(backbone, Sequences)
        return backbone.width
    return strategy.width(backbone) if strategy else backbone.features


def build_heads(
    configs: Sequence[AnyHead], strategy: StrategyConfig, backbone: Backbone, targets: Sequence[tuple[TargetSpec, ...]]
) -> nn.ModuleDict:
    """Build one head per config, in order, under the keys "0", "1", ...: the names that users give may hold dots."""
    pairs = enumerate(zip(configs, targets, strict=True))
    return nn.ModuleDict({str(index): build_head(config, strategy, backbone, of) for index, (config, of) in pairs})


def build_head(
    config: AnyHead, strategy: StrategyConfig | None, backbone: Backbone, targets: tuple[TargetSpec, ...]
) -> Head:
    """Build a head on a backbone; one that learns from texts themselves answers the tokens of its vocabulary."""
    if not config.needs_labels:
        tokens = tuple(map(str, range(backbone.encoding.vocabulary or 1)))
        targets = (TargetSpec(name=config.key, type="category", classes=tokens),)
    return config.build(head_width(config, strategy, backbone), targets)


def outputs_of(
    backbone: Backbone,
    strategy: StrategyConfig,
    configs: Sequence[HeadConfig],
    heads: Sequence[Head],
    inputs: Tensor,
    features: dict[str, Tensor] | None = None,
) -> list[Tensor]:
    """Return every head's raw output for encoded rows (B, *shape).

    The backbone runs at most twice: once for features of every step, once for those of whole rows. `features` keeps
    them by where they come from; what is in it is not computed again.
    """
    features = {} if features is None else features
    outputs = []
    for config, head in zip(configs, heads, strict=True):
        source = _STEPS if "sequence" in config.needs else strategy.source
        if source not in features:
            features[source] = _features(backbone, strategy, source, inputs)
        outputs.append(head.read(features[source], inputs))
    return outputs


def _features(backbone: Backbone, strategy: StrategyConfig, source: str, inputs: Tensor) -> Tensor:
    if source != _STEPS:
        return strategy.features(backbone, inputs)
    assert isinstance(backbone, Sequences)
    return backbone.sequence(inputs)


def stacked(config: HeadConfig, targets: dict[str, Tensor]) -> Tensor:
    """Return a head's labels: (B,), for several targets (B, T)."""
    if len(config.targets) == 1:
        return targets[config.targets[0]]
    return torch.stack([targets[name] for name in config.targets], dim=1)


def _target(config: HeadConfig, targets: dict[str, Tensor], output: Tensor) -> Tensor:
    """A head's labels; the output of one that learns from the rows themselves holds the comparison already."""
    return stacked(config, targets) if config.needs_labels else output


def _is_labelled(config: HeadConfig, batch: Batch) -> Tensor:
    """Whether any row of the batch carries the head's target, or one of them; bool ()."""
    if not config.needs_labels:
        return torch.ones((), dtype=torch.bool, device=batch.inputs.device)
    labels = stacked(config, batch.targets)
    return total((~labels.isnan() if labels.is_floating_point() else labels >= 0).sum()) > 0


class FineTuning(Objective):
    """Backbone and heads under a strategy; several heads' losses become one as `balance` says, by default their sum.

    Where the strategy caches features, a batch's inputs are features (B, F); else rows (B, *shape).
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: nn.ModuleDict,
        configs: tuple[AnyHead, ...],
        strategy: StrategyConfig,
        balancing: BalancingConfig | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.configs = configs
        self.strategy = strategy
        self.balance = (balancing or Fixed()).build(configs)
        self.reads_weights = self.balance.reads_gradients
        train_together = len(configs) > 1 and not strategy.caches_features
        self.affinity = Affinity(len(configs)) if train_together else None
        self._groups = [*strategy.groups(backbone, heads), *self.balance.groups()]
        trained = {id(parameter) for group in self._groups for parameter in group.params}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._statistics = [
            module for module in backbone.modules() if isinstance(getattr(module, "running_mean", None), Tensor)
        ]

    def train(self, mode: bool = True) -> "FineTuning":
        """As usual, except that a frozen backbone stays in eval mode (no dropout on features that are kept)."""
        if not self.strategy.caches_features:
            super().train(mode)
            self._freeze_statistics()
            return self
        # A frozen backbone is never in train mode, not for a moment: it may be answering requests in other threads.
        self.training = mode
        for module in self.children():
            module.train(mode and module is not self.backbone)
        return self

    def _freeze_statistics(self) -> None:
        """Let batch norms that are frozen normalise by their running statistics, which so stay as they are."""
        for norm in self._statistics:
            frozen = self.strategy.keeps_statistics or not any(values.requires_grad for values in norm.parameters())
            norm.train(self.training and self.backbone.training and not frozen)

    def loss(self, batch: Batch) -> Losses:
        """Scalars loss and, with several heads, each head's under its key."""
        return self._reported(self.batch_losses(batch))

    def training_loss(self, batch: Batch) -> Losses:
        """The losses of the augmented batch; those of several heads are balanced, and their weights reported."""
        batch = self.augmented(batch)
        losses = self.batch_losses(batch)
        reported = self._reported(losses)
        if len(losses) == 1:
            return reported
        total, weights = self.balance.combine(self._tasks(losses, batch))
        if weights is not None:
            reported |= {f"{config.key}/weight": weight for config, weight in zip(self.configs, weights, strict=True)}
        return {**reported, "loss": total}

    def batch_losses(self, batch: Batch) -> Tensor:
        """Every head's loss (T,), over the rows that carry its target; for mixed rows by the shares of both labels."""
        outputs = self.outputs(batch.inputs)
        own = self.head_losses(outputs, batch.targets)
        if batch.mix is None:
            return own
        # Row b holds `share` of itself and the rest of row order[b]: its loss counts both labels by these shares.
        order, share = batch.mix.order, row_mean(batch.mix.share.mean())
        others = {name: all_rows(values)[order] for name, values in batch.targets.items()}
        return share * own + (1 - share) * self.head_losses(outputs, others)

    def losses_of(self, outputs: list[Tensor], targets: dict[str, Tensor]) -> Losses:
        """As `loss`, from every head's raw output."""
        return self._reported(self.head_losses(outputs, targets))

    def _reported(self, losses: Tensor) -> Losses:
        if len(losses) == 1:
            return {"loss": losses[0]}
        parts = {config.key: loss.detach() for config, loss in zip(self.configs, losses, strict=True)}
        return {**parts, "loss": self.balance.total(losses)}

    def head_losses(self, outputs: list[Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Every head's loss (T,), in order."""
        return torch.stack(
            [
                head.loss(output, _target(config, targets, output))
                for config, head, output in zip(self.configs, self.each_head(), outputs, strict=True)
            ]
        )

    def _tasks(self, losses: Tensor, batch: Batch) -> TaskLosses:
        stages = ([values for values in stage if values.requires_grad] for stage in reversed(self.backbone.stages()))
        last = next((stage for stage in stages if stage), [])  # the last stage that trains at all
        own = [values for values in self.heads.parameters() if values.requires_grad]
        return TaskLosses(losses, self.present(batch), self.shared(), last, own)

    def present(self, batch: Batch) -> Tensor:
        """Whether any row of the batch carries a head's target, bool (T,)."""
        return torch.stack([_is_labelled(config, batch) for config in self.configs])

    def shared(self) -> list[nn.Parameter]:
        """The backbone's parameters that train now."""
        return [values for values in self.backbone.parameters() if values.requires_grad]

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """Every head's raw output (B, K)."""
        if self.strategy.caches_features:
            return [head(inputs) for head in self.each_head()]
        return outputs_of(self.backbone, self.strategy, self.configs, self.each_head(), inputs)

    def begin(self, step: int, total: int) -> None:
        """Freeze or unfreeze as the strategy says."""
        self.strategy.begin(self.backbone, step, total)
        self._freeze_statistics()  # a stage that joins now has its statistics move from now on

    @torch.no_grad()
    def solve(self, features: Tensor, targets: dict[str, Tensor]) -> dict[str, Fit]:
        """Set every head to its optimum on the train split's features (N, F); return how by the head's key."""
        widths = self.strategy.widths(self.backbone)
        fits = {
            config.key: head.solve(features, stacked(config, targets), widths)
            for config, head in zip(self.configs, self.each_head(), strict=True)
        }
        return {key: fit for key, fit in fits.items() if fit is not None}

    def outcomes(self, outputs: list[Tensor], targets: dict[str, Tensor]) -> dict[str, Outcomes]:
        """Return every head's outcomes on a whole split, by the head's key."""
        return {
            config.key: head.outcomes(output, _target(config, targets, output))
            for config, head, output in zip(self.configs, self.each_head(), outputs, strict=True)
        }

    def groups(self) -> list[ParamGroup]:
        """Return the strategy's groups and the balancing's."""
        return self._groups

    def each_head(self) -> list[Head]:
        """Return the heads in order."""
        return [head for head in self.heads.values() if isinstance(head, Head)]
