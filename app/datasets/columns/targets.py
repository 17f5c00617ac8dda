"""Checks targets once the rows are cleaned, and notes what the user should know of them."""

from dataclasses import replace

import numpy as np

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes, Floats, Frame
from app.datasets.report import Notes
from app.ml.spec import TargetSpec

MAX_SHOWN = 10


def finish_targets(frame: Frame, notes: Notes) -> Frame:
    """Drop the classes that no row has any more, and check that something is left to learn.

    A label of lists that no row has any more, or every row, is left out: it cannot be learned.

    Raises:
        DatasetError: one_class, or constant_target.
    """
    frame = _without_constant_labels(frame, notes)
    specs: list[TargetSpec] = []
    targets = frame.targets.copy()
    for t, spec in enumerate(frame.target_specs):
        if spec.type == "category":
            spec, targets[:, t] = _drop_unused_classes(spec, targets[:, t], notes)  # noqa: PLW2901 - without unused classes
        else:
            _check_number(spec, targets[:, t])
        specs.append(spec)
    return replace(frame, targets=targets, target_specs=tuple(specs))


def _without_constant_labels(frame: Frame, notes: Notes) -> Frame:
    varies = [
        spec.group is None or len(np.unique(column[~np.isnan(column)])) > 1
        for spec, column in zip(frame.target_specs, frame.targets.T, strict=True)
    ]
    if all(varies):
        return frame
    dropped = [spec for spec, learnable in zip(frame.target_specs, varies, strict=True) if not learnable]
    kept = tuple(spec for spec, learnable in zip(frame.target_specs, varies, strict=True) if learnable)
    shown = ", ".join(spec.label for spec in dropped[:MAX_SHOWN])
    notes.notice(f"labels that every row has, or none, are left out: {shown}")
    for group in {spec.group for spec in dropped} - {spec.group for spec in kept}:
        message = f"target {group}: every row has the same labels; there is nothing to learn"
        raise DatasetError(Code.CONSTANT_TARGET, message, [RowError((str(group),), message)])
    return replace(frame, targets=frame.targets[:, varies], target_specs=kept)


def _drop_unused_classes(spec: TargetSpec, codes: Floats, notes: Notes) -> tuple[TargetSpec, Floats]:
    present = ~np.isnan(codes)
    used, inverse, counts = np.unique(codes[present], return_inverse=True, return_counts=True)
    classes = tuple(spec.classes[int(code)] for code in used)
    if len(classes) < 2:  # noqa: PLR2004 - a choice needs two
        what = f"only the class {classes[0]!r}" if classes else "no class"
        message = f"target {spec.name} holds {what}; a classifier needs two, or leave the target out"
        raise DatasetError(Code.ONE_CLASS, message, [RowError((spec.name,), message)])
    dropped = sorted(set(spec.classes) - set(classes))
    if dropped:
        notes.notice(f"target {spec.name}: cleaning left no row of {', '.join(dropped[:MAX_SHOWN])}")
    single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    if single:
        shown = ", ".join(single[:MAX_SHOWN]) + (" ..." if len(single) > MAX_SHOWN else "")
        notes.notice(f"target {spec.name}: {len(single)} classes have one row, which cannot be tested: {shown}")
    new_codes = codes.copy()
    new_codes[present] = inverse
    return spec.model_copy(update={"classes": classes}), new_codes


def notice_untrained_classes(frame: Frame, split: Bytes, notes: Notes) -> None:
    """Note classes without a row in train, which no model can learn; a given split may lead to that."""
    for t, spec in enumerate(frame.target_specs):
        train_values = frame.targets[split == 0, t]
        if spec.type == "category":
            trained_codes = set(train_values[~np.isnan(train_values)].astype(int).tolist())
            untrained = [name for code, name in enumerate(spec.classes) if code not in trained_codes]
            if untrained:
                shown = ", ".join(untrained[:MAX_SHOWN])
                notes.notice(f"target {spec.name}: train has no row of {len(untrained)} classes: {shown}")


def _check_number(spec: TargetSpec, values: Floats) -> None:
    present = values[~np.isnan(values)]
    if not len(present) or present.min() == present.max():
        message = f"target {spec.name} is the same in every row; there is nothing to learn"
        raise DatasetError(Code.CONSTANT_TARGET, message, [RowError((spec.name,), message)])
