"""From the request of a pretraining to its resolved config.

Nothing here reads rows: the description of the data is enough, so that a request is answered before it is queued.
"""

import math
from dataclasses import replace
from functools import partial

import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.configs.resolved import Resolved, ResolvedPretraining
from app.ml.errors import ConfigError
from app.ml.interfaces import Decision, Decisions, MethodConfig, ResolutionContext
from app.ml.interfaces.resolvable import filled
from app.ml.kinds.supervision import AnySupervision
from app.ml.kinds.supervision.base import SupervisionConfig, SupervisionRequest
from app.ml.resolution.auxiliary import check_online_probe
from app.ml.resolution.cost import max_steps
from app.ml.resolution.network import (
    check_size,
    resolve_augmentations,
    resolve_backbone,
    resolve_method,
    resolve_preprocessing,
)
from app.ml.resolution.targets import learnable_target
from app.ml.resolution.training import Purpose, resolve_training
from app.ml.spec import DataSpec

_ROWS_TO_COMPARE = 2
_MIN_ROWS_TO_WATCH = 50  # with fewer labels only a very large loss is more than noise
_ROWS_TO_WATCH = 300  # each evaluation costs the features of these rows, and a decomposition of that size
_LABELS_SHARE = 0.1  # of a row's values: Kingma et al., 2014, give the labels a tenth too


def resolve_pretraining(
    config: PretrainingConfig, spec: DataSpec, auxiliary: DataSpec | None = None
) -> Resolved[ResolvedPretraining]:
    """Resolve a pretraining on a dataset; `auxiliary` describes that of its online probe. Raises `ConfigError`."""
    rows = spec.rows.get("train", 0)
    if rows < 1:
        raise ConfigError(("dataset",), "the dataset has no training rows")
    context = ResolutionContext(spec.modality, spec.shape, rows, continuous=spec.continuous)
    preprocessing, of_preprocessing = resolve_preprocessing(config.preprocessing, context)
    method, of_method = resolve_method(config.method, config.backbone, context)
    context = replace(context, causal=method.causal)
    backbone, of_backbone = resolve_backbone(config.backbone, context, method.needs, method.kind)
    augmentations, of_augmentations = resolve_augmentations(config.augmentations, method, context)
    labels, of_labels = _resolve_labels(config.labels, method, spec, context)
    watch, of_watch = _resolve_watch(config, spec)
    check_online_probe(watch, config.training, spec, auxiliary)
    if method.compares_rows:
        _check_rows_to_compare(method, rows, config)
    encoding = preprocessing.largest(spec)
    check_size(lambda: method.build(backbone.build(encoding)))
    least_rows = _ROWS_TO_COMPARE if method.compares_rows else 1
    with torch.device("meta"):
        network = backbone.build(encoding)
    purpose = Purpose(
        "pretraining",
        rows,
        spec,
        own_defaults=method.training_defaults(context),
        least_rows=least_rows,
        max_steps=partial(max_steps, network, spec, method.backbone_passes) if method.backbone_passes else None,
    )
    training, of_training = resolve_training(config.training, purpose)
    resolved = ResolvedPretraining(
        preprocessing=preprocessing,
        backbone=backbone,
        method=method,
        augmentations=augmentations,
        labels=labels,
        watch=watch,
        training=training,
    )
    return Resolved(
        resolved,
        (*of_preprocessing, *of_backbone, *of_method, *of_augmentations, *of_labels, *of_watch, *of_training),
    )


def _resolve_watch(config: PretrainingConfig, spec: DataSpec) -> tuple[OnlineProbeConfig | None, Decisions]:
    """Resolve what is looked at: a probe of the first target that enough train rows carry, where there is one."""
    if config.watch != "auto":
        return config.watch, ()
    for target in spec.targets:
        rows = spec.labelled.get(target.name, spec.rows).get("train", 0)
        if rows >= _MIN_ROWS_TO_WATCH and (target.type == "number" or len(target.classes) > 1):
            watch = OnlineProbeConfig(target=target.name, rows=_ROWS_TO_WATCH)
            reason = f"{rows} train rows carry {target.name!r}: a probe on {min(rows, _ROWS_TO_WATCH)} measures alone"
            return watch, (Decision(field="watch", value=watch.model_dump(), reason=reason),)
    return None, ()


def _check_rows_to_compare(method: MethodConfig, rows: int, config: PretrainingConfig) -> None:
    """Raise `ConfigError` where a batch would hold a single row: it has no other row to be compared with."""
    if rows < _ROWS_TO_COMPARE:
        msg = f"{method.kind} compares rows with each other, and the dataset has {rows} train row: upload more"
        raise ConfigError(("dataset",), msg)
    if config.training.batch_size == 1:
        msg = f"{method.kind} compares the rows of a batch with each other: give it two and more"
        raise ConfigError(("training", "batch_size"), msg)


def _resolve_labels(
    choice: AnySupervision | None, method: MethodConfig, spec: DataSpec, context: ResolutionContext
) -> tuple[SupervisionConfig | None, Decisions]:
    """Resolve what labels add to the loss. Raises `ConfigError` for a target that the dataset or the kind refuses."""
    if choice is None:
        return None, ()
    target = learnable_target(spec, choice.target, ("labels", "target"))
    if target.type not in choice.accepts:
        msg = f"{choice.kind} learns from classes, and target {target.name!r} is a {target.type}: use supervised"
        raise ConfigError(("labels", "kind"), msg)
    request: SupervisionRequest = choice
    return filled(request, request.resolved_type(), {"weight": _weight(method, context)}, "labels.")


def _weight(method: MethodConfig, context: ResolutionContext) -> tuple[float, str]:
    """The weight of the labels' loss, and why: as much as the method's, whose loss may be a sum over a row's values."""
    defaults = method.training_defaults(context)
    if defaults is None or not defaults.sums_values:
        return 1.0, f"as much as {method.kind} itself"
    values = math.prod(context.shape)
    return max(1.0, _LABELS_SHARE * values), f"{method.kind} sums over the {values} values of a row"
