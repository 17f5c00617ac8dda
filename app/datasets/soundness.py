"""Warns where a preparation left little, or little of something, to learn from."""

import numpy as np

from app.datasets.frames import Floats
from app.datasets.report import Notes, RowCounts
from app.ml.spec import TargetSpec, WarningCode

MAX_LOST_SHARE = 0.2
MIN_ROWS = 20
MAX_CLASS_SHARE = 0.9
MIN_CLASS_ROWS = 3
MAX_SHOWN = 10


def warn_of_rows(rows: RowCounts, notes: Notes) -> None:
    """Warn where many rows were removed, or few are left."""
    lost = rows.read - rows.kept
    if lost > MAX_LOST_SHARE * rows.read:
        reasons = ", ".join(f"{reason} {count}" for reason, count in rows.removed.items() if count)
        message = f"{lost} of {rows.read} rows were removed: {reasons}"
        remedy = "GET /v1/datasets/{id}/report lists them; cleaning, duplicates and unlabelled say which are removed"
        notes.warn(WarningCode.ROWS_LOST, message, count=lost, remedy=remedy)
    if rows.kept < MIN_ROWS:
        message = f"{rows.kept} rows are left: what is learned from so few, and measured on them, is hardly reliable"
        notes.warn(WarningCode.FEW_ROWS, message, count=rows.kept, remedy="upload more rows")


def warn_of_classes(targets: Floats, specs: tuple[TargetSpec, ...], notes: Notes) -> None:
    """Warn where one class of a target has nearly all rows, or some have hardly any; `targets` (N, T), NaN = missing.

    Labels of lists are left out: most of them are rare, and "no" is what most rows answer.
    """
    for spec, codes in zip(specs, targets.T, strict=True):
        if spec.type != "category" or spec.group is not None:
            continue
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(spec.classes))
        largest, total = int(counts.argmax()), int(counts.sum())
        if counts[largest] > MAX_CLASS_SHARE * total:
            share = f"{counts[largest]} of {total} rows"
            message = f"target {spec.name}: {share} are {spec.classes[largest]!r}; to answer that alone is as accurate"
            remedy = "look at the metrics of each class rather than at accuracy; class_weights balances the classes"
            notes.warn(WarningCode.IMBALANCED, message, count=int(counts[largest]), remedy=remedy)
        rare = [name for name, count in zip(spec.classes, counts, strict=True) if count < MIN_CLASS_ROWS]
        if rare:
            shown = ", ".join(rare[:MAX_SHOWN]) + (" ..." if len(rare) > MAX_SHOWN else "")
            message = f"target {spec.name}: {len(rare)} classes have fewer than {MIN_CLASS_ROWS} rows: {shown}"
            remedy = "label more rows of them, or leave them out: they are in no split that measures"
            notes.warn(WarningCode.RARE_CLASS, message, count=len(rare), remedy=remedy)
