"""From the request of a fine-tuning to its resolved config.

Nothing here reads rows: the description of the data is enough, so that a request is answered before it is queued.
"""

import math

from torch import nn

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import Resolved, ResolvedFineTuning
from app.ml.errors import ConfigError
from app.ml.interfaces import Backbone, BackboneConfig, Decision, Decisions, ResolutionContext
from app.ml.interfaces.abilities import Ability
from app.ml.kinds.strategies.automatic import Automatic
from app.ml.kinds.strategies.base import StrategyConfig, StrategyRequest
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.assembly import build_heads, targets_of
from app.ml.models.bundle import Manifest
from app.ml.resolution.auxiliary import resolve_label_propagation
from app.ml.resolution.heads import Heads, check_balancing, labelled_rows, labelled_rows_of_all_splits, resolve_heads
from app.ml.resolution.inheritance import (
    find_inherited,
    inheritance_decisions,
    keep_inherited,
    requested_heads,
    strategy_to_go_on,
    with_inherited_classes,
)
from app.ml.resolution.network import (
    check_abilities,
    check_augmentations,
    check_size,
    resolve_backbone,
    resolve_kind,
    resolve_preprocessing,
)
from app.ml.resolution.pretrained import (
    inherit_backbone,
    inherit_preprocessing,
    inherits_preprocessing,
    resolve_loading,
)
from app.ml.resolution.training import Purpose, PurposeKind, resolve_training
from app.ml.resolution.transfer_report import resolve_report
from app.ml.spec import DataSpec

_FEW_LABELS_PER_CLASS = 10
_NUMBER_AS_CLASSES = 10  # a number takes about as many rows to learn as this many classes


def resolve_fine_tuning(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, auxiliary: DataSpec | None = None
) -> Resolved[ResolvedFineTuning]:
    """Resolve a fine-tuning of `parent`, or from scratch; `auxiliary` describes its unlabelled rows.

    Raises `ConfigError`.
    """
    heads, of_heads = resolve_heads(requested_heads(config, spec, parent), spec)
    inherited = find_inherited(config, heads, spec, parent)
    check_balancing(config.balancing, heads)
    rows = labelled_rows(heads, spec)
    needs = frozenset[Ability]().union(*(head.needs for head in heads))
    context = ResolutionContext(
        spec.modality,
        spec.shape,
        rows,
        pretrained=parent is not None,
        causal=any(head.causal for head in heads),
        solvable=all(head.solvable for head in heads),
        linear=not any(head.needs_fixed_features for head in heads),
        continuous=spec.continuous,
        labelled_rows=labelled_rows_of_all_splits(heads, spec),
        usual_splits=spec.usual_splits,
    )
    if parent is not None and inherits_preprocessing(config, spec, parent):
        preprocessing, of_preprocessing = inherit_preprocessing(config, parent)
        encoding = parent.encoding
    else:
        preprocessing, of_preprocessing = resolve_preprocessing(config.preprocessing, context, config.backbone)
        encoding = preprocessing.largest(spec)
    if parent is not None and (config.loading == "strict" or config.backbone == "auto"):
        backbone, of_backbone = inherit_backbone(config, spec, parent)
        check_abilities(backbone, needs, "this head")
        if context.causal and not getattr(backbone, "causal", True):
            msg = "this head must not look ahead, and the model's backbone does: pretrain one with next_token"
            raise ConfigError(("model",), msg)
    else:
        backbone, of_backbone = resolve_backbone(config.backbone, context, needs, "this head")
    of_loading = resolve_loading(config, backbone, encoding, parent)
    all_go_on = len(inherited) == len(heads)
    strategy, of_strategy = _resolve_strategy(config, heads, spec, parent, backbone, context, all_go_on=all_go_on)
    inherited = keep_inherited(config, heads, inherited, strategy, parent)
    spec = with_inherited_classes(spec, inherited.values())
    check_augmentations(config.augmentations, context, ("augmentations",))
    _check_frozen(config, strategy, heads)
    _check_estimators(strategy, heads)
    unlabelled, of_unlabelled = resolve_label_propagation(config, strategy, heads, spec, auxiliary)
    check_size(lambda: _network(backbone.build(encoding), heads, strategy, spec))
    targets = tuple(name for head in heads for name in head.targets)
    purpose = Purpose(_purpose(strategy, parent), rows, spec, targets)
    training, of_training = resolve_training(config.training, purpose)
    report, of_report = resolve_report(config, parent, purpose, heads)
    resolved = ResolvedFineTuning(
        heads=heads,
        inherited_heads=tuple(inherited),
        strategy=strategy,
        preprocessing=preprocessing,
        backbone=backbone,
        loading=config.loading,
        balancing=config.balancing,
        augmentations=config.augmentations,
        unlabelled=unlabelled,
        training=training,
        transfer_report=report,
    )
    of_heads = (*of_heads, *inheritance_decisions(heads, inherited, spec))
    of_network = (*of_preprocessing, *of_backbone, *of_loading)
    return Resolved(resolved, (*of_heads, *of_network, *of_strategy, *of_unlabelled, *of_training, *of_report))


def _network(backbone: Backbone, heads: Heads, strategy: StrategyConfig, spec: DataSpec) -> nn.Module:
    targets = [targets_of(head, spec) for head in heads]
    return nn.ModuleList([build_heads(heads, strategy, backbone, targets), strategy.adapt(backbone)])


def _purpose(strategy: StrategyConfig, parent: Manifest | None) -> PurposeKind:
    if strategy.caches_features and not strategy.selects_strategy:
        return "linear_probe"
    return "from_scratch" if parent is None else "fine_tuning"


def _check_frozen(config: FineTuningConfig, strategy: StrategyConfig, heads: Heads) -> None:
    """Raise `ConfigError` where features are computed once, and something needs the backbone in every step."""
    if not strategy.caches_features:
        return
    if config.augmentations:
        msg = f"{strategy.kind} keeps every row's features, so nothing is augmented: leave this out, or choose full"
        raise ConfigError(("augmentations",), msg)
    for index, head in enumerate(heads):
        if head.needs:
            msg = f"{head.kind} needs the backbone in every step: choose the strategy full"
            raise ConfigError(("heads", index, "kind"), msg)


def _check_estimators(strategy: StrategyConfig, heads: Heads) -> None:
    """Raise `ConfigError` where a head's estimator would have to be trained by steps."""
    for index, head in enumerate(heads):
        if head.needs_fixed_features and strategy.solving != "only":
            msg = (
                f"it is fitted at once on fixed features, and {strategy.kind} trains by steps: choose the strategy "
                'linear_probe with {"solver": "exact"}, or leave this out'
            )
            raise ConfigError(("heads", index, "estimator"), msg)


def _resolve_strategy(
    config: FineTuningConfig,
    heads: Heads,
    spec: DataSpec,
    parent: Manifest | None,
    backbone: BackboneConfig,
    context: ResolutionContext,
    *,
    all_go_on: bool,
) -> tuple[StrategyConfig, Decisions]:
    request: StrategyRequest
    if config.strategy != "auto":
        request = config.strategy
        return resolve_kind(request, context, "strategy")
    going_on = strategy_to_go_on(parent, config) if parent is not None and all_go_on else None
    request, reason = _default_strategy(config, heads, spec, parent, backbone, context)
    if going_on is not None:
        request, reason = going_on, "the model's heads are taken over, and go on learning from where they are"
    strategy, decisions = resolve_kind(request, context, "strategy")
    return strategy, (Decision(field="strategy.kind", value=strategy.kind, reason=reason), *decisions)


def _default_strategy(
    config: FineTuningConfig,
    heads: Heads,
    spec: DataSpec,
    parent: Manifest | None,
    backbone: BackboneConfig,
    context: ResolutionContext,
) -> tuple[StrategyRequest, str]:
    """The strategy that auto becomes, and why."""
    if isinstance(config.unlabelled, LabelPropagationConfig) or not context.linear:
        an_estimator = "an estimator is fitted on the features of a frozen backbone"
        return LinearProbe(), "pseudo-labels join a probe" if context.linear else an_estimator
    if not backbone.learns and not config.augmentations:
        return LinearProbe(layer="last"), f"labels have nothing to teach {backbone.kind}"
    classes = max(
        (len(target.classes) or _NUMBER_AS_CLASSES for head in heads for target in targets_of(head, spec)), default=1
    )
    per_class = math.ceil(context.train_rows / classes)
    free = context.solvable and not config.augmentations and not any(head.needs for head in heads)
    says_how_to_train = config.backbone != "auto" or config.training.says_how
    if free and (parent is not None or not says_how_to_train):
        return Automatic(), f"chosen by cross-validation on {per_class} labelled rows a class, in the trainer"
    if parent is None:
        return Full(), "a backbone from scratch must learn too"
    few = per_class < _FEW_LABELS_PER_CLASS
    reason = f"{per_class} labelled rows a class are {'too few' if few else 'enough'} to move the backbone"
    return (LinearProbe() if few else Full()), reason
