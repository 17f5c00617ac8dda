"""The heads of a fine-tuning: which targets they answer, what the data refuse, and how many rows teach them."""

import re

from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Decision, Decisions
from app.ml.kinds.balancing import AnyBalancing
from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.heads import AnyHead
from app.ml.models.assembly import targets_of
from app.ml.resolution.targets import learnable_target
from app.ml.spec import SPLITS, DataSpec, Split, TargetSpec

Heads = tuple[AnyHead, ...]
_BALANCING: Location = ("balancing",)


def resolve_heads(heads: Heads, spec: DataSpec) -> tuple[Heads, Decisions]:
    """Give a head of a column of lists the labels that the lists hold, a target each. Raises `ConfigError`."""
    resolved: list[AnyHead] = []
    decisions: list[Decision] = []
    for index, head in enumerate(heads):
        labels = spec.labels_of(head.target) if head.accepts == "label" and isinstance(head.target, str) else ()
        resolved.append(head.model_copy(update={"target": labels, "name": head.key}) if labels else head)
        if labels:
            reason = f"the labels in the lists of {head.target}"
            decisions.append(Decision(field=f"heads.{index}.target", value=list(labels), reason=reason))
    for index, head in enumerate(resolved):
        _check_head(head, index, spec)
        resolved[index], settled = _settled(head, index, spec)
        decisions += settled
    return tuple(resolved), tuple(decisions)


def _settled(head: AnyHead, index: int, spec: DataSpec) -> tuple[AnyHead, Decisions]:
    """Fill what the dataset decides of a head. Raises `ConfigError` for what its targets refuse."""
    place: Location = ("heads", index)
    try:
        settled, choices = head.settled(targets_of(head, spec), spec.class_rows, labelled_rows((head,), spec))
    except ConfigError as error:
        raise error.under(*place) from error
    decisions = (
        Decision(field=f"heads.{index}.{name}", value=value, reason=reason) for name, (value, reason) in choices.items()
    )
    return settled, tuple(decisions)


def _check_head(head: AnyHead, index: int, spec: DataSpec) -> None:
    """Raise `ConfigError` where the data hold nothing that the head can learn."""
    if spec.modality not in head.modalities:
        msg = f"{head.kind} learns from texts, and this dataset is of modality {spec.modality}: choose another head"
        raise ConfigError(("heads", index, "kind"), msg)
    for name in head.targets:
        _check_target(head, name, index, spec)


def _check_target(head: AnyHead, name: str, index: int, spec: DataSpec) -> None:
    place = ("heads", index, "target")
    if spec.labels_of(name):
        raise ConfigError(("heads", index, "kind"), f"target {name!r} holds lists of labels: use multi_label")
    target = learnable_target(spec, name, place)
    if target.type != ("category" if head.accepts == "label" else head.accepts):
        kind = "a regressor" if target.type == "number" else "a classifier"
        msg = f"target {name!r} is a {target.type}: use {kind}{_retype_hint(head, target)}"
        raise ConfigError(("heads", index, "kind"), msg)
    if head.accepts == "label" and not target.is_label:
        shown = ", ".join(target.classes[:5])
        msg = f"target {name!r} has the classes {shown}, and a label is 0 or 1, or no or yes: use a classifier"
        raise ConfigError(("heads", index, "kind"), msg)


def _retype_hint(head: AnyHead, target: TargetSpec) -> str:
    """Say how a dataset is made in which the target is of the type that the head learns, where that can be."""
    if head.accepts not in {"number", "category"} or (target.type == "category" and not _are_numbers(target.classes)):
        return ""
    return f', or make a version of the dataset with types={{"{target.name}": "{head.accepts}"}}'


def _are_numbers(names: tuple[str, ...]) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names)


def check_balancing(balancing: AnyBalancing, heads: Heads) -> None:
    """Raise `ConfigError` where the balancing does not suit the heads."""
    if len(heads) == 1 and balancing != Fixed():
        raise ConfigError(("balancing",), "there is one head, and nothing to balance it with: leave this out")
    try:
        balancing.check(heads)
    except ConfigError as error:
        raise error.under(*_BALANCING) from error


def labelled_rows(heads: Heads, spec: DataSpec) -> int:
    """Return how many train rows carry at least one of the heads' targets, by the description; at least 1."""
    return _labelled_rows(heads, spec, "train") or 1


def labelled_rows_of_all_splits(heads: Heads, spec: DataSpec) -> int:
    """Return how many rows carry at least one of the heads' targets, by the description."""
    return sum(_labelled_rows(heads, spec, split) for split in SPLITS)


def _labelled_rows(heads: Heads, spec: DataSpec, split: Split) -> int:
    counts = [
        spec.rows.get(split, 0)
        if not head.needs_labels
        else max(spec.labelled.get(name, spec.rows).get(split, 0) for name in head.targets)
        for head in heads
    ]
    return max(counts, default=0)
