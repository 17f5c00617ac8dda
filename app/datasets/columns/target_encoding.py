"""Encodes the columns of targets: numbers, classes, or a choice of yes and no for each label of lists."""

import numpy as np

from app.datasets.columns.date_parsing import parse_dates
from app.datasets.columns.free_text import MAX_CATEGORIES, MAX_CERTAIN_CATEGORIES
from app.datasets.columns.label_lists import blank_out, label_targets, split_labels, warn_of_missing_words
from app.datasets.columns.roles import TARGET_NAMES, Assigned
from app.datasets.columns.type_inference import ColumnReader
from app.datasets.columns.values import Dates, Numbers, Unusable
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Floats, LabelsColumn, Loaded, TextColumn
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.spec import TargetSpec

MIN_CLASS_ROWS = 5  # on average, of numbered classes


def encode_targets(
    loaded: Loaded, roles: dict[str, Assigned], options: PrepareOptions, reader: ColumnReader
) -> tuple[tuple[TargetSpec, ...], Floats]:
    """Return the description and the values, (N, T), of all targets."""
    specs: list[TargetSpec] = []
    values: list[Floats] = []
    for column in loaded.columns:
        if roles[column.name] == "target":
            encoded = _label_targets(column, options, reader) or [_target(column, loaded, options, reader)]
            specs += [spec for spec, _ in encoded]
            values += [numbers for _, numbers in encoded]
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        message = f"two targets would be called {repeated}; give one of the columns another name"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((repeated,), message)])
    stacked = np.stack(values, axis=1) if values else np.empty((len(loaded.rows), 0))
    return tuple(specs), stacked


def _label_targets(column: Column, options: PrepareOptions, reader: ColumnReader) -> list[tuple[TargetSpec, Floats]]:
    """Return a target for each label of a column of lists of labels; for another column none."""
    if options.types.get(column.name) == "labels":
        column = split_labels(column, options.label_separator, reader.notes)
    return label_targets(column, reader.limits, reader.notes) if isinstance(column, LabelsColumn) else []


def _target(column: Column, loaded: Loaded, options: PrepareOptions, reader: ColumnReader) -> tuple[TargetSpec, Floats]:
    """Return the description of a target and its values, (N,): numbers, or class codes."""
    name = column.name
    declared = options.types.get(name, loaded.types.get(name))
    values = reader.read(blank_out(column, options.unlabelled_value, reader.notes), declared)
    if isinstance(values, Dates) or (isinstance(values, Unusable) and _holds_dates(column)):
        message = f"target {name} holds dates, which no head answers; write them as numbers, of days say"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
    if isinstance(values, Unusable):
        hint = f"; {values.remedy}" if values.remedy and "types" in values.remedy else ""
        message = f"target {name} cannot be learned: {values.reason}{hint}"
        raise DatasetError(Code.BAD_TARGET, message, [RowError((name,), message)])
    if isinstance(values, Numbers):
        if declared == "number" or not _decide_classes(name, values, reader.notes):
            return TargetSpec(name=name, type="number"), values.values
        values = reader.as_categories(name, values)
    if declared is None:
        warn_of_missing_words(name, values.names, values.codes, reader.rows, reader.notes)
    return TargetSpec(name=name, type="category", classes=values.names), values.codes


def _holds_dates(column: Column) -> bool:
    return isinstance(column, TextColumn) and parse_dates(column.values, force=False) is not None


def _decide_classes(name: str, numbers: Numbers, notes: Notes) -> bool:
    """Return whether the numbers of a target are classes, once the notes say why."""
    is_category, reason = are_classes(name, numbers)
    kind, other = ("category", "number") if is_category else ("number", "category")
    option = f'types={{"{name}": "{other}"}}'
    notes.decide(f"types.{name}", kind, reason, option=option)
    present = numbers.values[~np.isnan(numbers.values)]
    if not is_category and (present == np.floor(present)).all():
        notes.notice(f"target {name} is learned as a number: {reason}; {option} makes classes of them")
    return is_category


def are_classes(name: str, numbers: Numbers) -> tuple[bool, str]:
    """Return whether the numbers of a target are classes, and why: booleans are, and few different whole numbers."""
    present = numbers.values[~np.isnan(numbers.values)]
    distinct = np.unique(present)
    whole = bool((present == np.floor(present)).all())
    few = len(distinct) <= MAX_CERTAIN_CATEGORIES and (2 * len(distinct) <= len(present) or _count_up(distinct))
    is_category = numbers.boolean or (whole and (few or _are_class_numbers(name, numbers.whole, distinct, present)))
    if numbers.boolean:
        return is_category, "it holds true and false"
    span = f", {distinct[0]:g} to {distinct[-1]:g}," if len(distinct) else ""
    what = "whole numbers" if whole else "numbers, not all of them whole"
    return is_category, f"{len(distinct)} different {what}{span} in {len(present)} rows"


def _count_up(distinct: Floats) -> bool:
    """Return whether whole numbers (K,), ascending, are 0 .. K-1 or 1 .. K."""
    return len(distinct) > 0 and distinct[0] in {0, 1} and distinct[-1] - distinct[0] == len(distinct) - 1


def _are_class_numbers(name: str, whole: bool, distinct: Floats, present: Floats) -> bool:
    """Return whether many whole numbers number classes: the name says so, none is left out, and each has rows."""
    named_like_target = name.casefold().rstrip("0123456789") in TARGET_NAMES
    frequent = len(distinct) <= MAX_CATEGORIES and MIN_CLASS_ROWS * len(distinct) <= len(present)
    return whole and named_like_target and frequent and _count_up(distinct)
