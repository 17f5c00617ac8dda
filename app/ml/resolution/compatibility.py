"""Checks of an evaluation: whether a model can be measured on a dataset, and compared with a baseline.

Nothing here reads rows.
"""

from collections.abc import Iterable
from typing import Literal

from app.ml.errors import ConfigError
from app.ml.models.bundle import HeadEntry, Manifest
from app.ml.resolution.targets import no_such_target
from app.ml.spec import SPLITS, DataSpec, TargetSpec

EvaluatedSplit = Literal["train", "validation", "test", "all"]
_MAX_SHOWN = 5


def check_measurable(manifest: Manifest, spec: DataSpec, split: EvaluatedSplit, place: str = "model") -> None:
    """Raise `ConfigError` where the model does not fit the dataset; `place` is the model's field in the request."""
    if not manifest.heads:
        raise ConfigError((place,), "this model has no head, so that it answers nothing: fine-tune it first")
    differences = manifest.modality.differences(spec)
    if differences:
        raise ConfigError((place,), f"the model does not fit this dataset: {'; '.join(differences[:_MAX_SHOWN])}")
    for entry in manifest.heads:
        for target in entry.targets:
            _check_target(target, spec, place)
        _check_rows(entry, spec, split)


def check_comparable(manifest: Manifest, baseline: Manifest) -> tuple[str, ...]:
    """Return the keys of the heads that both models have. Raises `ConfigError` where there are none."""
    shared = tuple(
        head.config.key
        for head in manifest.heads
        for other in baseline.heads
        if head.config.key == other.config.key and head.config.targets == other.config.targets
        if head.config.kind == other.config.kind
    )
    if not shared:
        of_model, of_baseline = (
            _shown(f"{head.config.key}, a {head.config.kind}" for head in model.heads) for model in (manifest, baseline)
        )
        heads = f"the model has {of_model}, the baseline {of_baseline or 'none'}"
        msg = f"the models share no head to be compared by: {heads}"
        raise ConfigError(("baseline",), msg)
    return shared


def _check_target(target: TargetSpec, spec: DataSpec, place: str) -> None:
    """Raise `ConfigError` where the dataset lacks a target of the model, or means something else by it."""
    in_data = spec.target(target.name)
    if in_data is None and target.group is not None and spec.labels_of(target.group):
        return  # no row of this dataset lists the label
    if in_data is None:
        raise ConfigError(("dataset",), no_such_target(spec, target.name, ", which the model answers"))
    if in_data.type != target.type:
        msg = f"target {target.name!r} is a {in_data.type} in the dataset, and a {target.type} for the model"
        raise ConfigError((place,), msg)
    unknown = [name for name in in_data.classes if name not in target.classes]
    if unknown:
        msg = f"target {target.name!r} has classes that the model never saw: {_shown(unknown)}"
        raise ConfigError((place,), msg)


def _check_rows(entry: HeadEntry, spec: DataSpec, split: EvaluatedSplit) -> None:
    """Raise `ConfigError` where no row of the split carries a target of the head."""
    splits = SPLITS if split == "all" else (split,)
    counts = [spec.labelled.get(name, spec.rows) for name in entry.config.targets] or [spec.rows]
    if not any(count.get(name, 0) for count in counts for name in splits):
        what = f" that carries {_shown(entry.config.targets)}" if entry.config.targets else ""
        msg = f"the dataset has no row{what} in {'any split' if split == 'all' else f'its {split} split'}"
        raise ConfigError(("split",), msg)


def _shown(names: Iterable[str]) -> str:
    listed = [repr(name[:40]) for name in names]
    more = f" and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
    return ", ".join(listed[:_MAX_SHOWN]) + more
