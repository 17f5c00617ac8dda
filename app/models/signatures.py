"""Signatures of registered models, read from their manifests."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from app.ml.interfaces.answers import AnswerPart
from app.ml.interfaces.signature import Signature
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.modalities import AnyModality
from app.ml.spec import TargetSpec, WarningCode, WarningItem
from app.models.schemas import HeadSummary

MAX_CHANGES = 5
_HEAD: TypeAdapter[AnyHead] = TypeAdapter(AnyHead)
_TARGETS: TypeAdapter[tuple[TargetSpec, ...]] = TypeAdapter(tuple[TargetSpec, ...])
_MODALITY: TypeAdapter[AnyModality] = TypeAdapter(AnyModality)


def signature_of(manifest: dict[str, Any]) -> Signature:
    """Return what a model takes."""
    return _MODALITY.validate_python(manifest["modality"]).signature()


def answer_parts_of(manifest: dict[str, Any]) -> dict[str, tuple[AnswerPart, ...]]:
    """Return the parts of every head's answers, by the head's key."""
    entries = (
        (_HEAD.validate_python(head["config"]), _TARGETS.validate_python(head["targets"])) for head in manifest["heads"]
    )
    return {config.key: config.answer_parts(targets) for config, targets in entries}


def heads_of(manifest: dict[str, Any]) -> list[HeadSummary]:
    """Return what a model answers."""
    return [_head(head) for head in manifest["heads"]]


def warn_of_changes(manifest: dict[str, Any], older: dict[str, Any], version: int) -> list[WarningItem]:
    """Return a warning where a model takes or answers something else than the `older` version of its name."""
    changes = _changes_of_inputs(manifest, older) + _changes_of_answers(manifest, older)
    if not changes:
        return []
    more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    return [
        WarningItem(
            code=WarningCode.SIGNATURE_CHANGED,
            message=f"Clients of version {version} may not fit: {'; '.join(changes[:MAX_CHANGES])}{more}.",
            count=len(changes),
            remedy="ask for the version or an alias that clients were written for, or give the model another name",
        )
    ]


def _changes_of_inputs(manifest: dict[str, Any], older: dict[str, Any]) -> list[str]:
    if manifest["modality"] == older["modality"]:
        return []
    return signature_of(manifest).changes_from(signature_of(older))


def _changes_of_answers(manifest: dict[str, Any], older: dict[str, Any]) -> list[str]:
    """Return in words how the answers differ; a backbone, which answers nothing, may get any heads."""
    before = {head.name: head for head in heads_of(older)}
    now = {head.name: head for head in heads_of(manifest)}
    if not before or manifest["heads"] == older["heads"]:
        return []
    changes = [f"{name!r} is answered no more" for name in before if name not in now]
    changes += [f"{name!r} is answered, too" for name in now if name not in before]
    return changes + [word for name in now if name in before for word in _head_changes(now[name], before[name])]


def _head_changes(now: HeadSummary, before: HeadSummary) -> list[str]:
    if now.kind != before.kind:
        return [f"{now.name!r} comes from a {now.kind}, and came from a {before.kind}"]
    if now.targets != before.targets:
        return [f"{now.name!r} has other targets than before"]
    lost = [name for name in before.classes if name not in now.classes]
    added = [name for name in now.classes if name not in before.classes]
    changes = [f"{now.name!r} lost {len(lost)} classes, such as {lost[0]!r}"] if lost else []
    return changes + ([f"{now.name!r} has {len(added)} new classes, such as {added[0]!r}"] if added else [])


def _head(head: Mapping[str, Any]) -> HeadSummary:
    config, targets = head["config"], head["targets"]
    single = targets[0] if len(targets) == 1 else None
    name = config.get("name") or (single["name"] if single else config["kind"])
    target, classes = (single["name"], list(single["classes"])) if single else (None, [])
    return HeadSummary(
        name=name,
        kind=config["kind"],
        target=target,
        targets=[target["name"] for target in targets],
        classes=classes,
    )
