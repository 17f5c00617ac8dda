"""Assigns a role to each column: the user's choice, else what the file declares, else by its name."""

from typing import Literal, TypeAlias

import pyarrow.compute as pc

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, LabelsColumn, Loaded, Role, TextColumn
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes

Assigned: TypeAlias = Role | Literal["auto"]
TARGET_NAMES = ("label", "target", "class", "y")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "val", "valid", "dev"), 1),
    **dict.fromkeys(("test", "testing", "holdout"), 2),
}


def assign_roles(loaded: Loaded, options: PrepareOptions, notes: Notes) -> dict[str, Assigned]:
    """Return the role of every column of `loaded`; "auto" is an input if it can be one.

    Raises:
        DatasetError: unknown_column, or bad_roles.
    """
    names = [column.name for column in loaded.columns]
    _check_names([*names, *loaded.input_names], options)
    roles: dict[str, Assigned] = dict.fromkeys(names, "auto")
    roles.update({name: role for name, role in loaded.roles.items() if name in roles})
    roles.update({name: role for name, role in options.columns.items() if name in roles})
    _guess_split(loaded.columns, roles, notes)
    _guess_target(loaded.columns, roles, notes)
    for single in ("split", "group", "time"):
        if sum(role == single for role in roles.values()) > 1:
            raise DatasetError(Code.BAD_ROLES, f"more than one column has the role {single}; keep one")
    return roles


def _check_names(names: list[str], options: PrepareOptions) -> None:
    known = set(names)
    unknown = [name for name in (*options.columns, *options.types) if name not in known]
    if unknown:
        known_names = ", ".join(names[:50]) or "none"
        message = f"the file has no column {unknown[0][:100]!r}; its columns are: {known_names}"
        raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("columns", unknown[0]), message)])


def _guess_target(columns: tuple[Column, ...], roles: dict[str, Assigned], notes: Notes) -> None:
    if "target" in roles.values():
        return
    for target_name in TARGET_NAMES:
        for column in columns:
            if column.name.casefold() == target_name and roles[column.name] == "auto":
                roles[column.name] = "target"
                notes.decide(
                    f"columns.{column.name}", "target", "its name says so; give it another role to change that"
                )
                return
    for column in columns:
        if isinstance(column, LabelsColumn) and roles[column.name] == "auto":
            roles[column.name] = "target"
            notes.decide(f"columns.{column.name}", "target", "it holds lists of labels")


def _guess_split(columns: tuple[Column, ...], roles: dict[str, Assigned], notes: Notes) -> None:
    if "split" in roles.values():
        return
    for column in columns:
        if column.name.casefold() == "split" and roles[column.name] == "auto" and _holds_splits(column):
            roles[column.name] = "split"
            notes.decide(f"columns.{column.name}", "split", "every value is train, validation or test")
            return


def _holds_splits(column: Column) -> bool:
    if not isinstance(column, TextColumn) or not len(column.values):
        return False
    return all(
        value is not None and value.strip().casefold() in SPLIT_WORDS for value in pc.unique(column.values).to_pylist()
    )
