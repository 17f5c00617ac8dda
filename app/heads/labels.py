"""Labels of rows in a request: their type is read as that of a dataset's targets is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.columns.label_lists import NO_AND_YES
from app.datasets.columns.target_encoding import are_classes
from app.datasets.columns.values import Numbers
from app.errors import ErrorItem, UnprocessableError
from app.ml.spec import Decision, TargetSpec

_MAX_LABELS = 1000  # of lists
_MAX_NAME = 255
_MAX_NUMBER = 1e300

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EncodedLabels:
    """Targets with their values (N,) each: class codes or numbers, NaN without a label; and what was decided."""

    targets: tuple[TargetSpec, ...]
    values: tuple[Column, ...]
    decision: Decision


def encode_labels(name: str, labels: Sequence[Any], accepts: str | None, place: str) -> EncodedLabels:
    """Encode a target's labels (N,), null being none.

    `accepts` is what the head of it learns, where the request names one: "number", "category" or "label". `place` is
    the field that holds the labels.

    Raises:
        UnprocessableError: they are not of one type, or not of the one that the head learns.
    """
    for row, label in enumerate(labels):
        _check(label, row, place)
    present = [label for label in labels if label is not None]
    if not present:
        msg = f"no row has a label for target {name!r}: give a class, a number, or a list"
        raise _refusal(msg, place)
    are_lists = [isinstance(label, list) for label in present]
    if any(are_lists):
        if not all(are_lists) or accepts in {"number", "category"}:
            msg = "some labels are lists and others are not, or the head learns no lists"
            raise _refusal(msg, place)
        return _label_lists(name, labels, place)
    if all(isinstance(label, int | float) for label in present):
        return _numbers(name, labels, accepts)
    if accepts == "number":
        row = next(row for row, label in enumerate(labels) if isinstance(label, str))
        msg = "a regressor learns numbers, and this is a text: use a classifier"
        raise _refusal(msg, place, row)
    names = [None if label is None else _class_name(label) for label in labels]
    classes = sorted({class_name for class_name in names if class_name is not None})
    reason = f"its labels are {len(classes)} different texts"
    return _categories(name, classes, names, reason)


def _check(label: Any, row: int, place: str) -> None:
    if label is None or isinstance(label, bool):
        return
    if isinstance(label, str):
        if not label.strip() or len(label) > _MAX_NAME or "\0" in label:
            msg = f"a class is a text of 1 to {_MAX_NAME} characters without NUL; null: the row has no label"
            raise _refusal(msg, place, row)
    elif isinstance(label, list):
        for item in label:
            if not isinstance(item, str):
                msg = "a list of labels holds texts alone"
                raise _refusal(msg, place, row)
            _check(item, row, place)
    elif not isinstance(label, int | float) or not abs(label) <= _MAX_NUMBER:
        msg = "a label is a text, a finite number, true or false, a list of texts, or null"
        raise _refusal(msg, place, row)


def _numbers(name: str, labels: Sequence[Any], accepts: str | None) -> EncodedLabels:
    values = np.array([np.nan if label is None else float(label) for label in labels])
    present = [label for label in labels if label is not None]
    numbers = Numbers(
        values,
        whole=all(isinstance(label, int) for label in present),
        boolean=all(isinstance(label, bool) for label in present),
    )
    is_category, reason = are_classes(name, numbers)
    if accepts is not None:
        is_category, reason = accepts != "number", "the head says so"
    if not is_category:
        return EncodedLabels((TargetSpec(name=name, type="number"),), (values,), _decision(name, "regressor", reason))
    distinct = sorted({float(label) for label in present})
    names = [None if label is None else _class_name(label) for label in labels]
    ordered = {_class_name(bool(value) if numbers.boolean else value): None for value in distinct}
    return _categories(name, list(ordered), names, reason)


def _categories(name: str, classes: list[str], names: Sequence[str | None], reason: str) -> EncodedLabels:
    codes = {class_name: float(code) for code, class_name in enumerate(classes)}
    values = np.array([np.nan if class_name is None else codes[class_name] for class_name in names])
    target = TargetSpec(name=name, type="category", classes=tuple(classes))
    return EncodedLabels((target,), (values,), _decision(name, "classifier", reason))


def _label_lists(name: str, labels: Sequence[Any], place: str) -> EncodedLabels:
    known = sorted({item for label in labels if label is not None for item in label})
    if not known or len(known) > _MAX_LABELS:
        msg = f"the lists hold {len(known)} different labels: from 1 to {_MAX_LABELS} are learned"
        raise _refusal(msg, place)
    columns = tuple(np.array([np.nan if label is None else float(item in label) for label in labels]) for item in known)
    targets = tuple(
        TargetSpec(name=f"{name}.{item}", type="category", classes=NO_AND_YES, group=name) for item in known
    )
    return EncodedLabels(targets, columns, _decision(name, "multi_label", f"its lists hold {len(known)} labels"))


def _decision(name: str, kind: str, reason: str) -> Decision:
    other = "regressor" if kind == "classifier" else "classifier"
    option = f'"heads": [{{"kind": "{other}", "target": "{name}"}}]' if kind != "multi_label" else None
    return Decision(field="target", value=kind, reason=f"target {name}: {reason}", option=option)


def _class_name(label: Any) -> str:
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _refusal(msg: str, place: str, row: int | None = None) -> UnprocessableError:
    loc: list[str | int] = ["body", place] if row is None else ["body", place, row]
    return UnprocessableError(
        f"{'.'.join(map(str, loc[1:]))}: {msg}", code="invalid_labels", errors=[ErrorItem(loc=loc, msg=msg)]
    )
