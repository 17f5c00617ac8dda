"""What `"auto"` becomes for a dataset, why, and which choices a dataset refuses.

Nothing here reads rows: the description of the data is enough, so that a request is answered before it is queued.
"""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.ml.assembly import count_parameters, encoded_shape
from app.ml.backbones import AnyBackbone
from app.ml.backbones.convnet import ConvNet
from app.ml.backbones.mlp import Mlp
from app.ml.bundle import Manifest
from app.ml.configs import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.heads import AnyHead
from app.ml.interfaces import Config, Decision, Facts
from app.ml.spec import DataSpec
from app.ml.strategies import AnyStrategy
from app.ml.strategies.full import Full
from app.ml.strategies.linear_probe import LinearProbe
from app.ml.training_recipe import Purpose, PurposeKind, settle_training

MOST_PARAMETERS = 500_000_000
_SMALLEST_SIDE_FOR_CONVNET = 4
_FEW_LABELS_PER_CLASS = 10

AnyConfig = TypeVar("AnyConfig", PretrainingConfig, FineTuningConfig)
AnyKind = TypeVar("AnyKind", bound=Config)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[AnyConfig]):
    """A config without any `"auto"`, and what was decided on the way."""

    config: AnyConfig
    decisions: tuple[Decision, ...]


def resolve_pretraining(config: PretrainingConfig, spec: DataSpec) -> Resolved[PretrainingConfig]:
    """Settle a pretraining. Raises `ConfigError`."""
    rows = spec.rows.get("train", 0)
    if rows < 1:
        raise ConfigError(("dataset",), "the dataset has no training rows")
    facts = Facts(spec.modality, spec.shape, rows)
    backbone, decisions = _settle_backbone(config.backbone, facts)
    _check_size(backbone, (), spec)
    method, more = _settle(config.method, facts, "method")
    training, rest = settle_training(config.training, Purpose("pretraining", rows, spec))
    resolved = config.model_copy(update={"backbone": backbone, "method": method, "training": training})
    return Resolved(resolved, (*decisions, *more, *rest))


def resolve_fine_tuning(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None
) -> Resolved[FineTuningConfig]:
    """Settle a fine-tuning of `parent`, or from scratch. Raises `ConfigError`."""
    rows = _labelled_rows(config, spec)
    facts = Facts(spec.modality, spec.shape, rows, pretrained=parent is not None)
    heads, decisions = _settle_heads(config.heads, spec, facts)
    if parent is None:
        backbone, more = _settle_backbone(config.backbone, facts)
    else:
        backbone, more = _inherit_backbone(config, spec, parent)
    _check_size(backbone, heads, spec)
    strategy, why = _settle_strategy(config, spec, parent, facts)
    purpose = Purpose(_purpose(strategy, parent), rows, spec, tuple(head.target for head in heads))
    training, rest = settle_training(config.training, purpose)
    resolved = config.model_copy(
        update={"heads": heads, "backbone": backbone, "strategy": strategy, "training": training}
    )
    return Resolved(resolved, (*decisions, *more, *why, *rest))


def _purpose(strategy: AnyStrategy, parent: Manifest | None) -> PurposeKind:
    if strategy.caches_features:
        return "linear_probe"
    return "from_scratch" if parent is None else "fine_tuning"


def _settle(config: AnyKind, facts: Facts, *loc: str | int) -> tuple[AnyKind, tuple[Decision, ...]]:
    """Let a kind settle itself, and put its place in the request before what it says."""
    try:
        settled, decisions = config.settle(facts)
    except ConfigError as error:
        raise error.under(*loc) from error
    prefix = ".".join(str(part) for part in loc)
    return settled, tuple(one.model_copy(update={"field": f"{prefix}.{one.field}"}) for one in decisions)


def _settle_backbone(choice: AnyBackbone | str, facts: Facts) -> tuple[AnyBackbone, tuple[Decision, ...]]:
    decided: tuple[Decision, ...] = ()
    if isinstance(choice, str):
        choice, reason = _default_backbone(facts)
        decided = (Decision(field="backbone", value=choice.model_dump(mode="json"), reason=reason),)
    if facts.modality not in choice.accepts:
        msg = f"{choice.kind} takes {' or '.join(choice.accepts)} data, this dataset is a {facts.modality}: choose mlp"
        raise ConfigError(("backbone", "kind"), msg)
    if isinstance(choice, ConvNet) and min(facts.shape[:2]) < _SMALLEST_SIDE_FOR_CONVNET:
        raise ConfigError(("backbone", "kind"), "convnet needs images of at least 4 x 4 pixels: choose mlp")
    settled, more = _settle(choice, facts, "backbone")
    return settled, (*decided, *more)


def _default_backbone(facts: Facts) -> tuple[AnyBackbone, str]:
    if facts.modality == "table":
        return Mlp(), "the dataset is a table"
    if min(facts.shape[:2]) < _SMALLEST_SIDE_FOR_CONVNET:
        return Mlp(), "the images are smaller than 4 x 4"
    return ConvNet(), "the dataset holds images"


def _check_size(backbone: AnyBackbone, heads: tuple[AnyHead, ...], spec: DataSpec) -> None:
    parameters = count_parameters(backbone, encoded_shape(spec), heads, spec)
    if parameters > MOST_PARAMETERS:
        msg = f"the network would have {parameters:,} parameters, at most {MOST_PARAMETERS:,}: choose smaller layers"
        raise ConfigError(("backbone",), msg)


def _inherit_backbone(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest
) -> tuple[AnyBackbone, tuple[Decision, ...]]:
    differences = parent.modality.differences(spec)
    if differences:
        raise ConfigError(("model",), f"the model does not fit this dataset: {'; '.join(differences[:5])}")
    if config.backbone not in ("auto", parent.backbone):
        raise ConfigError(("backbone",), "the model brings its own backbone: leave this out, or set model to null")
    reason = "the pretrained model's"
    value = parent.backbone.model_dump(mode="json")
    return parent.backbone, (Decision(field="backbone", value=value, reason=reason),)


def _settle_heads(
    heads: tuple[AnyHead, ...], spec: DataSpec, facts: Facts
) -> tuple[tuple[AnyHead, ...], tuple[Decision, ...]]:
    settled: list[AnyHead] = []
    decisions: list[Decision] = []
    for index, head in enumerate(heads):
        _check_head(head, index, spec)
        one, more = _settle(head, facts, "heads", index)
        settled.append(one)
        decisions.extend(more)
    return tuple(settled), tuple(decisions)


def _check_head(head: AnyHead, index: int, spec: DataSpec) -> None:
    place = ("heads", index, "target")
    target = spec.target(head.target)
    if target is None:
        known = ", ".join(repr(one.name) for one in spec.targets[:10]) or "none: upload labels"
        raise ConfigError(place, f"the dataset has no target {head.target!r}; it has {known}")
    if target.type != head.accepts:
        kind = "a regressor" if target.type == "number" else "a classifier"
        raise ConfigError(("heads", index, "kind"), f"target {head.target!r} is a {target.type}: use {kind}")
    if target.type == "category" and len(target.classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise ConfigError(place, f"target {head.target!r} has one class only: there is nothing to learn")
    if spec.labelled.get(head.target, spec.rows).get("train", 0) < 1:
        raise ConfigError(place, f"no training row carries target {head.target!r}")


def _labelled_rows(config: FineTuningConfig, spec: DataSpec) -> int:
    """Train rows that carry at least one of the heads' targets, as far as the description tells."""
    counts = [spec.labelled.get(head.target, spec.rows).get("train", 0) for head in config.heads]
    return max(counts, default=0) or 1


def _settle_strategy(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, facts: Facts
) -> tuple[AnyStrategy, tuple[Decision, ...]]:
    strategy = config.strategy
    decided: tuple[Decision, ...] = ()
    if isinstance(strategy, str):
        strategy, reason = _default_strategy(config, spec, parent, facts)
        decided = (Decision(field="strategy.kind", value=strategy.kind, reason=reason),)
    settled, more = _settle(strategy, facts, "strategy")
    return settled, (*decided, *more)


def _default_strategy(
    config: FineTuningConfig, spec: DataSpec, parent: Manifest | None, facts: Facts
) -> tuple[AnyStrategy, str]:
    if parent is None:
        return Full(), "a backbone from scratch must learn too"
    classes = max(len(spec.target(head.target).classes) or 1 for head in config.heads)  # type: ignore[union-attr]
    per_class = math.ceil(facts.train_rows / classes)
    if per_class < _FEW_LABELS_PER_CLASS:
        return LinearProbe(), f"{per_class} labelled rows a class are too few to move the backbone"
    return Full(), f"{per_class} labelled rows a class are enough to move the backbone"
