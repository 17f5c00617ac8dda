"""A candidate: the base's request with some fields replaced. A field is its dotted place, `training.optimizer.lr`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

# Either of a pair may be given; searching it takes its rival out of the base.
_RIVALS = {"training.steps": ("training", "epochs"), "training.epochs": ("training", "steps")}


def candidate(base: BaseModel, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that tries `values`. What the base leaves open stays open.

    A `kind` that changes replaces its whole object, so that the other kind's fields take their defaults. Where the
    base leaves out what a field lies in, that is filled in with the kind that it would have had.

    Raises:
        LookupError: the base has no such place.
    """
    given = base.model_dump(mode="json", exclude_unset=True)
    whole = base.model_dump(mode="json")
    for field in sorted(values, key=_kinds_first):
        if (rival := _RIVALS.get(field)) is not None:
            given.get(rival[0], {}).pop(rival[1], None)
        _put(given, whole, field.split("."), values[field])
    return given


def _kinds_first(field: str) -> tuple[int, bool, str]:
    """Outer places before inner ones, and a kind before the other fields of its object."""
    return field.count("."), not field.endswith("kind"), field


def _put(node: Any, whole: Any, parts: list[str], value: Any) -> None:
    """Set a place below `node`; `whole` is the same place with every default filled in, as far as it is there."""
    key: Any = parts[0]
    if isinstance(node, list):
        key = int(key) if key.isdecimal() else len(node)
        if key >= len(node):
            msg = f"there is no {parts[0]} in a list of {len(node)}"
            raise LookupError(msg)
    if parts[1:2] == ["kind"] and len(parts) == 2:  # noqa: PLR2004 - this key and its kind
        child = _child(node, key)
        if not (isinstance(child, dict) and child.get("kind") == value):
            node[key] = {"kind": value}
    elif len(parts) == 1:
        node[key] = value
    else:
        inside = None if whole is None else _child(whole, key)
        if not isinstance(_child(node, key), dict | list):
            node[key] = {"kind": inside["kind"]} if isinstance(inside, dict) and "kind" in inside else {}
        _put(node[key], inside if isinstance(inside, dict | list) else None, parts[1:], value)


def _child(node: Any, key: Any) -> Any:
    return node[key] if isinstance(node, list) else node.get(key)
