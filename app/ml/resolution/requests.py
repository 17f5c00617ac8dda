"""What `"auto"` becomes for a dataset, why, and which choices a dataset refuses.

Nothing here reads rows: the description of the data is enough, so that a request is answered before it is queued.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import nn

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.spec import DataSpec
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Backbone, Decision, ResolutionContext
from app.ml.interfaces.abilities import Ability
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.preprocessing import AnyPreprocessing
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.strategies.automatic import Automatic
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.assembly import build_heads, count_parameters, targets_of
from app.ml.models.bundle import Manifest
from app.ml.resolution.auxiliary import check_unlabelled, check_watch
from app.ml.resolution.network import (
    check_abilities,
    check_augmentations,
    resolve_backbone,
    resolve_kind,
    resolve_method,
    resolve_preprocessing,
    resolve_views,
)
from app.ml.resolution.pretrained import inherits_preprocessing, planned_loading
from app.ml.resolution.supervision import resolve_supervision, resolve_target
from app.ml.resolution.training import Purpose, PurposeKind, resolve_training
from app.ml.resolution.transfer_report import resolve_report

MAX_PARAMETERS = 500_000_000
_FEW_LABELS_PER_CLASS = 10
_NUMBER_AS_CLASSES = 10  # a number takes about as many rows to learn as this many classes
_BALANCING: Location = ("balancing",)

AnyConfig = TypeVar("AnyConfig", PretrainingConfig, FineTuningConfig)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[AnyConfig]):
    """A config without any `"auto"`, and what was decided on the way."""

    config: AnyConfig
    decisions: tuple[Decision, ...]


def resolve_pretraining(
    config: PretrainingConfig, spec: DataSpec, auxiliary: DataSpec | None = None
) -> Resolved[PretrainingConfig]:
    """Resolve a pretraining; `auxiliary` describes the dataset that watches it. Raises `ConfigError`."""
    rows = spec.rows.get("train", 0)
    if rows < 1:
        raise ConfigError(("dataset",), "the dataset has no training rows")
    context = ResolutionContext(spec.modality, spec.shape, rows, continuous=spec.continuous)
    preprocessing, decisions = resolve_preprocessing(config.preprocessing, context)
    method, of_method = resolve_method(config.method, config.backbone, context)
    context = replace(context, causal=method.causal)
    backbone, of_backbone = resolve_backbone(config.backbone, context, method.needs, method.kind)
    augmentations, of_views = resolve_views(config.augmentations, method, context)
    labels, of_labels = resolve_supervision(config.labels, method, spec, context)
    check_watch(config.watch, config.training, spec, auxiliary)
    _check_size(lambda: method.build(backbone.build(preprocessing.largest(spec))))
    training, rest = resolve_training(
        config.training, Purpose("pretraining", rows, spec, own=method.training_defaults(context))
    )
    changes = {
        "preprocessing": preprocessing,
        "backbone": backbone,
        "method": method,
        "augmentations": augmentations,
        "labels": labels,
        "training": training,
    }
    decided = (*decisions, *of_backbone, *of_method, *of_views, *of_labels, *rest)
    return Resolved(config.model_copy(update=changes), decided)


def resolve_fine_tuning(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, auxiliary: DataSpec | None = None
) -> Resolved[FineTuningConfig]:
    """Resolve a fine-tuning of `parent`, or from scratch; `auxiliary` are its unlabelled rows. Raises `ConfigError`."""
    config, of_labels = _with_labels(config, spec)
    rows = _labelled_rows(config, spec)
    causal = any(head.causal for head in config.heads)
    context = ResolutionContext(
        spec.modality,
        spec.shape,
        rows,
        pretrained=parent is not None,
        causal=causal,
        solvable=all(head.solvable for head in config.heads),
        continuous=spec.continuous,
    )
    heads, decisions = _resolve_heads(config.heads, spec, context)
    _check_balancing(config, heads)
    needs = frozenset[Ability]().union(*(head.needs for head in heads))
    if parent is not None and inherits_preprocessing(config, spec, parent):
        preprocessing, of_preprocessing = _inherit_preprocessing(config, parent)
        encoding = parent.encoding
    else:
        preprocessing, of_preprocessing = resolve_preprocessing(config.preprocessing, context)
        encoding = preprocessing.largest(spec)
    if parent is not None and (config.loading == "strict" or config.backbone == "auto"):
        backbone, of_backbone = _inherit_backbone(config, spec, parent)
        check_abilities(backbone, needs, "this head")
        if causal and not getattr(backbone, "causal", True):
            msg = "this head must not look ahead, and the model's backbone does: pretrain one with next_token"
            raise ConfigError(("model",), msg)
    else:
        backbone, of_backbone = resolve_backbone(config.backbone, context, needs, "this head")
    of_loading = planned_loading(config, backbone, encoding, parent)
    strategy, why = _resolve_strategy(config, spec, parent, context)
    check_augmentations(config.augmentations, context, ("augmentations",))
    _check_frozen(config, strategy, heads)
    check_unlabelled(config.unlabelled, strategy, heads, spec, auxiliary)
    _check_size(lambda: _network(backbone.build(encoding), heads, strategy, spec))
    purpose = Purpose(_purpose(strategy, parent), rows, spec, tuple(name for head in heads for name in head.targets))
    training, rest = resolve_training(config.training, purpose)
    report, of_report = resolve_report(config, parent, purpose, heads)
    changes = {
        "heads": heads,
        "preprocessing": preprocessing,
        "backbone": backbone,
        "strategy": strategy,
        "training": training,
        "transfer_report": report,
    }
    decided = (*of_labels, *decisions, *of_preprocessing, *of_backbone, *of_loading, *why, *rest, *of_report)
    return Resolved(config.model_copy(update=changes), decided)


def _network(backbone: Backbone, heads: tuple[AnyHead, ...], strategy: AnyStrategy, spec: DataSpec) -> nn.Module:
    targets = [targets_of(head, spec) for head in heads]
    return nn.ModuleList([build_heads(heads, strategy, backbone, targets), strategy.adapt(backbone)])


def _check_frozen(config: FineTuningConfig, strategy: AnyStrategy, heads: tuple[AnyHead, ...]) -> None:
    """What needs the backbone anew in every step does not go with features that are kept."""
    if not strategy.caches_features:
        return
    if config.augmentations:
        msg = f"{strategy.kind} keeps every row's features, so nothing is augmented: leave this out, or choose full"
        raise ConfigError(("augmentations",), msg)
    for index, head in enumerate(heads):
        if head.needs:
            msg = f"{head.kind} needs the backbone in every step: choose the strategy full"
            raise ConfigError(("heads", index, "kind"), msg)


def _purpose(strategy: AnyStrategy, parent: Manifest | None) -> PurposeKind:
    if strategy.caches_features and not strategy.selects_strategy:
        return "linear_probe"
    return "from_scratch" if parent is None else "fine_tuning"


def _check_size(build: Callable[[], nn.Module]) -> None:
    """Refuse networks that no machine of ours would hold; nothing is allocated."""
    with torch.device("meta"):
        parameters = count_parameters(build())
    if parameters > MAX_PARAMETERS:
        msg = f"the network would have {parameters:,} parameters, at most {MAX_PARAMETERS:,}: choose smaller layers"
        raise ConfigError(("backbone",), msg)


def _inherit_preprocessing(config: FineTuningConfig, parent: Manifest) -> tuple[AnyPreprocessing, tuple[Decision, ...]]:
    if config.preprocessing not in ("auto", parent.preprocessing):
        msg = "the model brings its own preprocessing: leave this out, or set model to null"
        raise ConfigError(("preprocessing",), msg)
    value = parent.preprocessing.model_dump(mode="json")
    return parent.preprocessing, (Decision(field="preprocessing", value=value, reason="the pretrained model's"),)


def _inherit_backbone(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest
) -> tuple[AnyBackbone, tuple[Decision, ...]]:
    differences = parent.modality.differences(spec)
    if differences and config.loading == "strict":
        raise ConfigError(("model",), f"the model does not fit this dataset: {'; '.join(differences[:5])}")
    if spec.modality not in parent.backbone.accepts:
        msg = f"{parent.backbone.kind} takes no {spec.modality} data: choose another backbone, or set model to null"
        raise ConfigError(("backbone",), msg)
    if config.backbone not in ("auto", parent.backbone):
        raise ConfigError(("backbone",), "the model brings its own backbone: leave this out, or set model to null")
    reason = "the pretrained model's"
    value = parent.backbone.model_dump(mode="json")
    return parent.backbone, (Decision(field="backbone", value=value, reason=reason),)


def _with_labels(config: FineTuningConfig, spec: DataSpec) -> tuple[FineTuningConfig, tuple[Decision, ...]]:
    """A column of lists by the labels that it holds: a target each."""
    heads: list[AnyHead] = []
    decisions: list[Decision] = []
    for index, head in enumerate(config.heads):
        labels = spec.labels_of(head.target) if head.accepts == "label" and isinstance(head.target, str) else ()
        heads.append(head.model_copy(update={"target": labels, "name": head.key}) if labels else head)
        if labels:
            reason = f"the labels in the lists of {head.target}"
            decisions.append(Decision(field=f"heads.{index}.target", value=list(labels), reason=reason))
    return config.model_copy(update={"heads": tuple(heads)}), tuple(decisions)


def _resolve_heads(
    heads: tuple[AnyHead, ...], spec: DataSpec, context: ResolutionContext
) -> tuple[tuple[AnyHead, ...], tuple[Decision, ...]]:
    resolved: list[AnyHead] = []
    decisions: list[Decision] = []
    for index, head in enumerate(heads):
        _check_head(head, index, spec)
        one, more = resolve_kind(head, context, "heads", index)
        resolved.append(one)
        decisions.extend(more)
    return tuple(resolved), tuple(decisions)


def _check_head(head: AnyHead, index: int, spec: DataSpec) -> None:
    if spec.modality not in head.modalities:
        msg = f"{head.kind} learns from texts, and this dataset is of modality {spec.modality}: choose another head"
        raise ConfigError(("heads", index, "kind"), msg)
    for name in head.targets:
        _check_target(head, name, index, spec)


def _check_target(head: AnyHead, name: str, index: int, spec: DataSpec) -> None:
    place = ("heads", index, "target")
    if spec.labels_of(name):
        raise ConfigError(("heads", index, "kind"), f"target {name!r} holds lists of labels: use multi_label")
    target = resolve_target(spec, name, place)
    if target.type != ("category" if head.accepts == "label" else head.accepts):
        kind = "a regressor" if target.type == "number" else "a classifier"
        raise ConfigError(("heads", index, "kind"), f"target {name!r} is a {target.type}: use {kind}")
    if head.accepts == "label" and not target.is_label:
        shown = ", ".join(target.classes[:5])
        msg = f"target {name!r} has the classes {shown}, and a label is 0 or 1, or no or yes: use a classifier"
        raise ConfigError(("heads", index, "kind"), msg)


def _check_balancing(config: FineTuningConfig, heads: tuple[AnyHead, ...]) -> None:
    balancing = config.balancing
    if len(heads) == 1 and balancing != Fixed():
        raise ConfigError(("balancing",), "there is one head, and nothing to balance it with: leave this out")
    try:
        balancing.check(heads)
    except ConfigError as error:
        raise error.under(*_BALANCING) from error


def _labelled_rows(config: FineTuningConfig, spec: DataSpec) -> int:
    """Train rows that carry at least one of the heads' targets, as far as the description tells."""
    counts = [_rows_of(head, spec) for head in config.heads]
    return max(counts, default=0) or 1


def _rows_of(head: AnyHead, spec: DataSpec) -> int:
    if not head.needs_labels:
        return spec.rows.get("train", 0)
    return max(spec.labelled.get(name, spec.rows).get("train", 0) for name in head.targets)


def _resolve_strategy(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, context: ResolutionContext
) -> tuple[AnyStrategy, tuple[Decision, ...]]:
    strategy = config.strategy
    decided: tuple[Decision, ...] = ()
    if isinstance(strategy, str):
        strategy, reason = _default_strategy(config, spec, parent, context)
        decided = (Decision(field="strategy.kind", value=strategy.kind, reason=reason),)
    resolved, more = resolve_kind(strategy, context, "strategy")
    return resolved, (*decided, *more)


def _default_strategy(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, context: ResolutionContext
) -> tuple[AnyStrategy, str]:
    if config.unlabelled is not None:
        return LinearProbe(), "pseudo-labels join a probe"
    if parent is None:
        return Full(), "a backbone from scratch must learn too"
    classes = max(
        (len(one.classes) or _NUMBER_AS_CLASSES for head in config.heads for one in targets_of(head, spec)), default=1
    )
    per_class = math.ceil(context.train_rows / classes)
    if "centroids" in parent.backbone.provides and not config.augmentations:
        return LinearProbe(), "labels have nothing to teach typical patches"
    if context.solvable and not config.augmentations and not any(head.needs for head in config.heads):
        return Automatic(), f"chosen by cross-validation on {per_class} labelled rows a class, in the trainer"
    if per_class < _FEW_LABELS_PER_CLASS:
        return LinearProbe(), f"{per_class} labelled rows a class are too few to move the backbone"
    return Full(), f"{per_class} labelled rows a class are enough to move the backbone"
