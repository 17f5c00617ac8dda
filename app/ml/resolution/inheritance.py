"""Heads that a fine-tuned model hands on: which of them a fine-tuning goes on with, and which classes they answer.

A head goes on where it answers the same target by the same features. Its classes keep their places, and those that the
dataset adds follow them, so that each output still means what it meant.
"""

from collections.abc import Iterable, Mapping

import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import Decision, Decisions
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.base import StrategyConfig, StrategyRequest
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.assembly import build_head, targets_of
from app.ml.models.bundle import HeadEntry, Manifest
from app.ml.spec import DataSpec, TargetSpec

Heads = tuple[AnyHead, ...]
Inherited = Mapping[str, HeadEntry]  # the model's head that each head goes on from, by key


def requested_heads(config: FineTuningConfig, spec: DataSpec, parent: Manifest | None) -> Heads:
    """Return the heads of the request; "inherit" is all of the model's. Raises `ConfigError` where it has none."""
    if config.heads != "inherit":
        return config.heads
    if parent is None or not parent.heads:
        msg = "there is no head to inherit: name a fine-tuned model, or list the heads"
        raise ConfigError(("heads",), msg)
    return tuple(_as_requested(entry, spec) for entry in parent.heads)


def _as_requested(entry: HeadEntry, spec: DataSpec) -> AnyHead:
    """The config of a model's head; one of a column of lists names the column again, whose labels may be others now."""
    group = entry.targets[0].group if entry.targets else None
    if entry.config.accepts != "label" or group is None or not spec.labels_of(group):
        targets = tuple(target for name in entry.config.targets if (target := spec.target(name)) is not None)
        return entry.config.handed_on(targets) if targets else entry.config
    return entry.config.model_copy(update={"target": group, "name": entry.config.key})


def find_inherited(config: FineTuningConfig, heads: Heads, spec: DataSpec, parent: Manifest | None) -> Inherited:
    """Return the heads that can go on, as far as targets and classes tell.

    Raises:
        ConfigError: one that is asked for cannot.
    """
    if parent is None or config.loading == "partial" or config.transfer_report is not None:
        _refuse(config, heads, "heads are taken over from a model that is loaded strictly, without a transfer report")
        return {}
    if config.heads != "inherit" and config.inherited_heads == ():
        return {}
    inherited = {}
    for head in heads:
        asked, entry = _is_asked_for(config, head), entry_for(head, parent)
        if head.needs_fixed_features:
            if asked:
                msg = f"{head.key!r} learns an estimator, which is fitted anew: list the heads, and leave it out here"
                raise ConfigError(("heads" if config.heads == "inherit" else "inherited_heads",), msg)
        elif (
            entry is not None
            and _continues(head, entry, spec, keeps_classes=asked)
            and _fits(head, entry, spec, parent)
        ):
            inherited[head.key] = entry
        elif asked:
            msg = f"the model has no head for the target of {head.key!r} with the same layers: leave it out"
            raise ConfigError(("inherited_heads",), msg)
    return inherited


def entry_for(head: AnyHead, parent: Manifest) -> HeadEntry | None:
    """Return the model's head of the same kind for the same target, or for one of them; None where it has none."""
    return next(
        (
            entry
            for entry in parent.heads
            if entry.config.kind == head.kind
            and (set(entry.config.targets) & set(head.targets) or not head.needs_labels)
        ),
        None,
    )


def _fits(head: AnyHead, entry: HeadEntry, spec: DataSpec, parent: Manifest) -> bool:
    """Whether the weights of a model's head fit, but for outputs that come or go."""
    targets = targets_of(head, with_inherited_classes(spec, (entry,)))
    with torch.device("meta"):  # shapes alone
        backbone = parent.backbone.build(parent.encoding)
        own = build_head(head, parent.strategy, backbone, targets)
        return own.fits(build_head(entry.config, parent.strategy, backbone, entry.targets))


def _is_asked_for(config: FineTuningConfig, head: AnyHead) -> bool:
    return config.heads == "inherit" or (config.inherited_heads != "auto" and head.key in config.inherited_heads)


def _refuse(config: FineTuningConfig, heads: Heads, reason: str) -> None:
    """Raise `ConfigError` where any head is asked to go on."""
    if any(_is_asked_for(config, head) for head in heads):
        raise ConfigError(("heads" if config.heads == "inherit" else "inherited_heads",), reason)


def _continues(head: AnyHead, entry: HeadEntry, spec: DataSpec, *, keeps_classes: bool) -> bool:
    """Whether a model's head answers the same; classes that the dataset lacks are lost, unless they are to be kept."""
    own = {target.name: target for target in targets_of(head, spec)}
    theirs = {target.name: target for target in entry.targets} if entry.config.needs_labels else {}
    if not head.grows and list(own) != list(theirs):
        return False
    lost = theirs.keys() - own.keys()
    lost_classes = any(dropped_classes(theirs[name], own[name]) for name in theirs.keys() & own.keys())
    return keeps_classes or not (lost or lost_classes)


def dropped_classes(model: TargetSpec, dataset: TargetSpec) -> list[str]:
    """Return the classes that the model knows and the dataset does not; a label is no or yes by whatever name."""
    if model.is_label and dataset.is_label:
        return []
    return [name for name in model.classes if name not in dataset.classes]


def strategy_to_go_on(parent: Manifest, config: FineTuningConfig) -> StrategyRequest | None:
    """Return the strategy by which the model's heads go on, on the features that they know; None where none can."""
    source = parent.strategy.source if parent.strategy is not None else "last"
    if source == "last":
        return Full()
    if config.augmentations:
        return None
    return LinearProbe(layer="all" if source == "all" else int(source), solver="gradient")


def keep_inherited(
    config: FineTuningConfig,
    heads: Heads,
    inherited: Inherited,
    strategy: StrategyConfig,
    parent: Manifest | None,
) -> Inherited:
    """Return those that the strategy lets go on. Raises `ConfigError` where one that is asked for cannot."""
    if not inherited or parent is None or parent.strategy is None:
        return {}
    if strategy.selects_strategy or strategy.solving != "never":
        way_out = 'choose full, or linear_probe with {"solver": "gradient"}'
        _refuse(config, heads, f"{strategy.kind} solves for heads anew, whatever they were: {way_out}")
        return {}
    by_features = [head for head in heads if head.key in inherited and "sequence" not in head.needs]
    if by_features and strategy.source != parent.strategy.source:
        layer = parent.strategy.source
        _refuse(config, heads, f"the model's heads read layer {layer!r}: leave strategy out, or probe that layer")
        return {key: entry for key, entry in inherited.items() if key not in {head.key for head in by_features}}
    return inherited


def with_inherited_classes(spec: DataSpec, entries: Iterable[HeadEntry]) -> DataSpec:
    """Return the description in which classes stand as the model counts them, those that are new to it after them."""
    theirs = {
        target.name: target for entry in entries if entry.config.accepts == "category" for target in entry.targets
    }
    targets, class_rows = [], dict(spec.class_rows)
    for target in spec.targets:
        if (known := theirs.get(target.name)) is None:
            targets.append(target)
            continue
        classes = (*known.classes, *(name for name in target.classes if name not in known.classes))
        targets.append(target.model_copy(update={"classes": classes}))
        if target.name in class_rows:
            rows = dict(zip(target.classes, class_rows[target.name], strict=True))
            class_rows[target.name] = tuple(rows.get(name, 0) for name in classes)
    return spec.model_copy(update={"targets": tuple(targets), "class_rows": class_rows})


def inheritance_decisions(heads: Heads, inherited: Inherited, spec: DataSpec) -> Decisions:
    """Say which heads go on, and how many classes are new to them."""
    decisions = []
    for index, head in enumerate(heads):
        if (entry := inherited.get(head.key)) is None:
            continue
        outputs, known = (sum(map(_outputs, targets)) for targets in (targets_of(head, spec), entry.targets))
        new = f", and {outputs - known} outputs are new" if head.needs_labels and outputs > known else ""
        reason = f"the model answers it already: its weights are taken over{new}"
        decisions.append(
            Decision(field=f"heads.{index}", value="inherited", reason=reason, option='`"inherited_heads": []`')
        )
    return tuple(decisions)


def _outputs(target: TargetSpec) -> int:
    return 1 if target.is_label or not target.classes else len(target.classes)
