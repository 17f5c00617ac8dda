"""Whether a dataset can tell how good a model is; nothing here reads rows."""

from collections.abc import Iterable
from typing import Literal

from app.ml.data.spec import SPLITS, DataSpec, TargetSpec
from app.ml.errors import ConfigError
from app.ml.models.bundle import HeadEntry, Manifest

Part = Literal["train", "validation", "test", "all"]
_MAX_SHOWN = 5


def check_measurable(manifest: Manifest, spec: DataSpec, part: Part, place: str = "model") -> None:
    """Refuse in words what does not fit; `place` is the model's field in the request. Raises `ConfigError`."""
    if not manifest.heads:
        raise ConfigError((place,), "this model has no head, so that it answers nothing: fine-tune it first")
    differences = manifest.modality.differences(spec)
    if differences:
        raise ConfigError((place,), f"the model does not fit this dataset: {'; '.join(differences[:_MAX_SHOWN])}")
    for entry in manifest.heads:
        for target in entry.targets:
            _check_target(target, spec, place)
        _check_rows(entry, spec, part)


def check_comparable(manifest: Manifest, baseline: Manifest) -> tuple[str, ...]:
    """Return the keys of the heads that both models have. Raises `ConfigError` where there are none."""
    shared = tuple(
        one.config.key
        for one in manifest.heads
        for other in baseline.heads
        if one.config.key == other.config.key and one.config.targets == other.config.targets
        if one.config.kind == other.config.kind
    )
    if not shared:
        each = (manifest.heads, baseline.heads)
        mine, theirs = (_shown(f"{one.config.key}, a {one.config.kind}" for one in heads) for heads in each)
        msg = f"the models share no head to be compared by: the model has {mine}, the baseline {theirs or 'none'}"
        raise ConfigError(("baseline",), msg)
    return shared


def _check_target(mine: TargetSpec, spec: DataSpec, place: str) -> None:
    theirs = spec.target(mine.name)
    if theirs is None and mine.group is not None and spec.labels_of(mine.group):
        return  # a label that no list of theirs holds
    if theirs is None:
        known = _shown(one.name for one in spec.targets) or "none: upload labels"
        msg = f"the dataset has no target {mine.name!r}, which the model answers; it has {known}"
        raise ConfigError(("dataset",), msg)
    if theirs.type != mine.type:
        msg = f"target {mine.name!r} is a {theirs.type} in the dataset, and a {mine.type} for the model"
        raise ConfigError((place,), msg)
    unknown = [name for name in theirs.classes if name not in mine.classes]
    if unknown:
        msg = f"target {mine.name!r} has classes that the model never saw: {_shown(unknown)}"
        raise ConfigError((place,), msg)


def _check_rows(entry: HeadEntry, spec: DataSpec, part: Part) -> None:
    splits = SPLITS if part == "all" else (part,)
    counts = [spec.labelled.get(name, spec.rows) for name in entry.config.targets] or [spec.rows]
    if not any(count.get(split, 0) for count in counts for split in splits):
        what = f" that carries {_shown(entry.config.targets)}" if entry.config.targets else ""
        msg = f"the dataset has no row{what} in {'any split' if part == 'all' else f'its {part} split'}"
        raise ConfigError(("split",), msg)


def _shown(names: Iterable[str]) -> str:
    listed = [repr(name[:40]) for name in names]
    more = f" and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
    return ", ".join(listed[:_MAX_SHOWN]) + more
