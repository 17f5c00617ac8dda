"""The objective of a fine-tuning: backbone and heads, and what the heads take from the train rows at first."""

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import Examples
from app.ml.interfaces import Backbone
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.assembly import FineTuning, build_heads, stacked, targets_of
from app.ml.models.bundle import Bundle, HeadEntry
from app.ml.resolution.inheritance import Inherited, entry_for
from app.ml.spec import DataSpec, WarningCode, WarningItem

_MAX_SHOWN = 5


def build_objective(
    config: ResolvedFineTuning, spec: DataSpec, backbone: Backbone, strategy: StrategyConfig, parent: Bundle | None
) -> FineTuning:
    """Build the heads on a backbone, and let those that are inherited go on from the parent's.

    Fresh weights come from torch's global generator.
    """
    targets = [targets_of(head, spec) for head in config.heads]
    heads = build_heads(config.heads, strategy, backbone, targets)
    objective = FineTuning(strategy.adapt(backbone), heads, config.heads, strategy, config.balancing)
    inherited = inherited_by(config, parent)
    for head_config, head in zip(config.heads, objective.each_head(), strict=True):
        head.inherit(parent.method if parent else {}, backbone)
        if parent is not None and head_config.key in inherited:
            head.take_over(parent.heads[inherited[head_config.key].config.key])
    return objective


def inherited_by(config: ResolvedFineTuning, parent: Bundle | None) -> Inherited:
    """Return the parent's heads that heads go on from, by the heads' keys."""
    if parent is None:
        return {}
    entries = {
        head.key: entry_for(head, parent.manifest) for head in config.heads if head.key in config.inherited_heads
    }
    return {key: entry for key, entry in entries.items() if entry is not None}


def fit_statistics(objective: FineTuning, examples: Examples, inherited: tuple[str, ...] = ()) -> None:
    """Let the heads take standardisation and class weights from the train split; inherited ones keep their scales."""
    for config, head in zip(objective.configs, objective.each_head(), strict=True):
        goes_on = config.key in inherited
        if not config.needs_labels:
            head.fit_examples(examples)
        elif not (goes_on and head.scales_targets):
            head.fit_target(stacked(config, examples.targets))  # labels (N,), of several targets (N, T)
        if objective.strategy.caches_features and not goes_on:
            head.fit_features(examples.inputs.take(None))  # (N, F)


def head_entries(config: ResolvedFineTuning, spec: DataSpec) -> tuple[HeadEntry, ...]:
    """Return the heads of the model, each with the targets that it answers."""
    return tuple(HeadEntry(config=head, targets=targets_of(head, spec)) for head in config.heads)


def warn_of_dropped_classes(
    config: ResolvedFineTuning, objective: FineTuning, parent: Bundle | None
) -> list[WarningItem]:
    """Return a warning for each head that cannot answer what the parent's head for the same target does."""
    if parent is None:
        return []
    warnings = []
    for head_config, head in zip(config.heads, objective.each_head(), strict=True):
        entry = entry_for(head_config, parent.manifest) if parent.heads else None
        names = () if entry is None else parent.heads[entry.config.key].output_names
        dropped = [name for name in names if name not in head.output_names]
        if dropped and len(dropped) < len(names):  # where it shares none, it is another question of the same name
            warnings.append(_warn_of_dropped(head_config.key, dropped))
    return warnings


def _warn_of_dropped(key: str, dropped: list[str]) -> WarningItem:
    shown = ", ".join(repr(name[:40]) for name in dropped[:_MAX_SHOWN])
    more = f" and {len(dropped) - _MAX_SHOWN} more" if len(dropped) > _MAX_SHOWN else ""
    message = (
        f"Head {key!r} of the pretrained model answers {shown}{more}, of which the dataset has no row: this one cannot."
    )
    remedy = '`"heads": "inherit"` goes on from the model\'s heads and keeps their classes.'
    return WarningItem(code=WarningCode.CLASSES_DROPPED, message=message, count=len(dropped), remedy=remedy)
