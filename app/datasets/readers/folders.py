"""Classes and splits that the folders of a zip give the files in them: test/cat/1.png.

What the folders are is found out (app.datasets.readers.layouts) and becomes a decision; `folders` overrules it.
"""

import unicodedata
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, ColumnType, Ints, Role, TextColumn
from app.datasets.limits import Limits
from app.datasets.options import FolderLevel
from app.datasets.readers.archive import archive_error
from app.datasets.readers.contents import name_some
from app.datasets.readers.layouts import KINDS, FolderLayout, Folders, folders_option, infer_layout, shared_folders
from app.datasets.readers.names import clean_name
from app.datasets.readers.split_names import splits_of
from app.datasets.report import Notes
from app.ml.spec import WarningCode

LABEL, SPLIT = "label", "split"
ROLES: dict[str, Role] = {LABEL: "target", SPLIT: "split"}
TYPES: dict[str, ColumnType] = {LABEL: "category"}


@dataclass(frozen=True, slots=True)
class MemberFolders:
    """The files (N,) that are rows, and what folders say of them: `values` has "label" (N,) and "split" (N,), or less.

    `unlabelled` are the rows of folders that say that they have no label.
    """

    members: list[zipfile.ZipInfo]
    values: dict[str, list[str | None]]
    unlabelled: Ints

    @property
    def splits(self) -> list[str | None] | None:
        """The splits of the files, (N,); None where folders give none."""
        return self.values.get(SPLIT)

    @property
    def have_labels(self) -> bool:
        """Whether folders give labels."""
        return LABEL in self.values

    @property
    def classes(self) -> set[str]:
        """The classes."""
        return {label for label in self.values.get(LABEL, []) if label is not None}

    @property
    def train(self) -> list[zipfile.ZipInfo]:
        """The files of train; all of them where folders give no splits."""
        splits = self.splits or ["train"] * len(self.members)
        return [member for member, split in zip(self.members, splits, strict=True) if split == "train"]

    @property
    def without_labels(self) -> list[zipfile.ZipInfo]:
        """The files to which folders give no label, except those in folders that say so."""
        labels = self.values.get(LABEL, [None] * len(self.members))
        said = set(self.unlabelled.tolist())
        return [member for row, member in enumerate(self.members) if labels[row] is None and row not in said]

    @property
    def roles(self) -> dict[str, Role]:
        """The roles of the columns."""
        return {name: ROLES[name] for name in self.values}

    @property
    def types(self) -> dict[str, ColumnType]:
        """The types of the columns."""
        return dict(TYPES) if self.have_labels else {}

    def columns(self, rows: Ints) -> tuple[Column, ...]:
        """Return the labels and splits of the files at `rows` (n,) as columns."""
        return tuple(
            TextColumn(name, pa.array([values[row] for row in rows], pa.string()), typed=True)
            for name, values in self.values.items()
        )


def read_folders(members: Sequence[zipfile.ZipInfo], context: Context) -> MemberFolders:
    """Return the files that are rows, with their labels and splits where folders give them.

    Files in a folder that says that they have no label have the label None, and are in train. A few files next to
    folders that hold very many are no rows, which is a warning.

    Raises:
        DatasetError: mixed_layout, bad_name, bad_split or too_many_classes.
    """
    paths = [tuple(member.filename.split("/")[:-1]) for member in members]
    levels = context.options.folders
    layout = _inferred(paths, context.notes) if levels is None else _as_given(paths, levels)
    values: dict[str, list[str | None]] = {}
    if layout.splits is not None:
        if "train" not in layout.splits:
            message = "the folders put no file into train, and a model learns from those; add a folder train, or send "
            message += 'folders=["label"] where they are classes, folders=["ignored", "label"] to split anew'
            raise DatasetError(Code.BAD_SPLIT, message)
        values[SPLIT] = list(layout.splits)
    if any(label is not None for label in layout.labels):
        if levels is None:
            _check_kinds(members, layout.labels, folders_option(len(shared_folders(paths)), *layout.levels))
        values[LABEL] = _class_names(layout.labels, context.limits)
    _warn_of_dropped([members[row] for row in layout.dropped], context.notes)
    rows = np.setdiff1d(np.arange(len(members)), layout.dropped)
    kept = {name: [column[row] for row in rows] for name, column in values.items()}
    return MemberFolders([members[row] for row in rows], kept, np.flatnonzero(np.isin(rows, layout.unlabelled)))


def _check_kinds(members: Sequence[zipfile.ZipInfo], labels: Sequence[str | None], option: str) -> None:
    """Refuse folders of kinds of files, such as images and masks, that hold files of the same names: they are pairs.

    Raises:
        DatasetError: mixed_layout.
    """
    stems: dict[str, set[str]] = {}
    for member, label in zip(members, labels, strict=True):
        if label is not None:
            stems.setdefault(label, set()).add(PurePosixPath(member.filename).stem)
    sizes = [len(names) for names in stems.values()]
    if len(stems) > 1 and all(map(KINDS.fullmatch, stems)):
        paired = set.intersection(*stems.values())
        if 2 * len(paired) >= max(sizes):
            names = " and ".join(sorted(stems)[:5])
            message = f"the folders {names} hold files of the same names: they are kinds of files and no classes; "
            message += f"masks and the like cannot be learned: leave them out, or send {option} where they are classes"
            raise DatasetError(Code.MIXED_LAYOUT, message)


def _warn_of_dropped(members: Sequence[zipfile.ZipInfo], notes: Notes) -> None:
    if members:
        message = f"{len(members)} files lie next to the folders that hold all others, and were not read: "
        remedy = "move them into the folder of their class"
        notes.warn(WarningCode.FILES_NOT_READ, message + name_some(members), count=len(members), remedy=remedy)


def _inferred(paths: list[Folders], notes: Notes) -> FolderLayout:
    """Find out what the folders are, and record it."""
    wrappers = shared_folders(paths)
    layout = infer_layout(paths, len(wrappers))
    if layout.guess is not None:
        notes.warn(WarningCode.GUESSED_SPLITS, layout.guess, count=2, remedy=layout.remedy)
    if wrappers:
        why = "one folder holds everything, so it is taken for a wrapper and not for a class"
        notes.decide("folder", "/".join(wrappers)[:100], why, folders_option(len(wrappers) - 1, "label"))
    if layout.levels:
        overruling: list[FolderLevel] = ["label"]
        if layout.levels == ["label"]:
            overruling = ["ignored", "label"] if layout.deeper else ["ignored"]
        option = folders_option(len(wrappers) + layout.repeated, *overruling)
        notes.decide("folders", ", ".join(layout.levels), "; ".join(layout.reasons), option)
    return layout


def _as_given(paths: list[Folders], levels: tuple[FolderLevel, ...]) -> FolderLayout:
    """Read the folders as the user says; a file that lies in fewer of them has no label, or is in train."""
    layout = FolderLayout(paths)
    for level, meaning in enumerate(levels):
        names = [path[level] if len(path) > level else None for path in paths]
        if meaning == "label":
            layout.labels = names
        elif meaning == "split":
            splits = splits_of({name for name in names if name is not None}, alike=False)
            unknown = [name for name in names if name is not None and name not in splits]
            if unknown:
                message = f"the folder {unknown[0][:100]!r} is no split; call it train, validation or test"
                raise DatasetError(Code.BAD_SPLIT, message, [RowError(("folders",), message)])
            layout.splits = ["train" if name is None else splits[name] for name in names]
    return layout


def _class_names(folders: Sequence[str | None], limits: Limits) -> list[str | None]:
    cleaned = {folder: clean_name(folder) for folder in dict.fromkeys(folders) if folder is not None}
    if len(cleaned) > limits.classes:
        message = f"the archive has {len(cleaned)} folders; at most {limits.classes} classes are taken"
        raise DatasetError(Code.TOO_MANY_CLASSES, message)
    folded = Counter(unicodedata.normalize("NFC", name.casefold()) for name in cleaned.values())
    for folder, name in cleaned.items():
        if folded[unicodedata.normalize("NFC", name.casefold())] > 1:
            message = f"two folders are called {name!r} but for case, spaces or accents; make them one"
            raise archive_error(Code.BAD_NAME, message, folder[:200])
    return [None if folder is None else cleaned[folder] for folder in folders]
