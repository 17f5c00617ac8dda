"""Classes and splits that the folders of a zip give the files in them: test/cat/1.png."""

import unicodedata
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from app.datasets.columns.roles import SPLIT_WORDS
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Column, ColumnType, Ints, Role, TextColumn
from app.datasets.limits import Limits
from app.datasets.readers.archive import archive_error
from app.datasets.readers.names import clean_name
from app.datasets.report import Notes

JUNK = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
MACOS = "__MACOSX/"
MAX_SHOWN = 5
LABEL, SPLIT = "label", "split"
ROLES: dict[str, Role] = {LABEL: "target", SPLIT: "split"}
TYPES: dict[str, ColumnType] = {LABEL: "category"}


def without_junk(members: Sequence[zipfile.ZipInfo], notes: Notes) -> list[zipfile.ZipInfo]:
    """Return the members except files that file systems leave behind, which are noted."""
    junk = [member for member in members if is_junk(member)]
    if junk:
        notes.notice(f"{len(junk)} files that systems leave behind were ignored: {name_some(junk)}")
    return [member for member in members if not is_junk(member)]


def is_junk(member: zipfile.ZipInfo) -> bool:
    """Return whether a file system or an archiver left this file behind."""
    name = member.filename.rsplit("/", 1)[-1].lower()
    return member.filename.startswith(MACOS) or name in JUNK or name.startswith("._")


def has_ending(member: zipfile.ZipInfo, endings: frozenset[str]) -> bool:
    """Return whether the file's name ends in one of `endings`, in upper or lower case."""
    return PurePosixPath(member.filename).suffix.lower() in endings


def name_some(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return the first few names for a message."""
    names = [repr(member.filename[:100]) for member in members[:MAX_SHOWN]]
    return ", ".join(names) + (" ..." if len(members) > MAX_SHOWN else "")


def read_folders(names: list[str], context: Context) -> dict[str, list[str]]:
    """Return the label and the split of each file, {"label": (files,), "split": (files,)}, where folders give them.

    Raises:
        DatasetError: mixed_layout, bad_name or too_many_classes.
    """
    paths = [name.split("/") for name in names]
    if all(len(parts) > 1 and parts[0] == paths[0][0] for parts in paths):
        why = "one folder holds everything, so it is taken for a wrapper and not for a class"
        context.notes.decide("folder", paths[0][0][:100], why)
        paths = [parts[1:] for parts in paths]
    values: dict[str, list[str]] = {}
    top_folders = {parts[0].casefold() if len(parts) > 1 else "" for parts in paths}
    if "train" in top_folders and top_folders <= SPLIT_WORDS.keys():
        values[SPLIT] = [parts[0] for parts in paths]
        paths = [parts[1:] for parts in paths]
    loose = sum(len(parts) == 1 for parts in paths)
    if 0 < loose < len(paths):
        message = f"{loose} files lie outside the folders of classes; move each into a folder, or leave out folders"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    if not loose:
        values[LABEL] = _class_names([parts[0] for parts in paths], context.limits)
    return values


def folder_columns(folders: dict[str, list[str]], rows: Ints) -> tuple[Column, ...]:
    """Return the labels and splits that `read_folders` returned, of the files at `rows` (n,), as columns."""
    return tuple(
        TextColumn(name, pa.array([values[row] for row in rows], pa.string()), typed=True)
        for name, values in folders.items()
    )


def _class_names(folders: list[str], limits: Limits) -> list[str]:
    cleaned = {folder: clean_name(folder) for folder in dict.fromkeys(folders)}
    if len(cleaned) > limits.classes:
        message = f"the archive has {len(cleaned)} folders; at most {limits.classes} classes are taken"
        raise DatasetError(Code.TOO_MANY_CLASSES, message)
    folded = Counter(unicodedata.normalize("NFC", name.casefold()) for name in cleaned.values())
    for folder, name in cleaned.items():
        if folded[unicodedata.normalize("NFC", name.casefold())] > 1:
            message = f"two folders are called {name!r} but for case, spaces or accents; make them one"
            raise archive_error(Code.BAD_NAME, message, folder[:200])
    return [cleaned[folder] for folder in folders]
