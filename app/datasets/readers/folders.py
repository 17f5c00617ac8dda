"""What the folders of a zip say of the files in them: their class, and around that their split."""

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
from app.datasets.readers.archive import refuse
from app.datasets.readers.names import clean_name
from app.datasets.report import Notes

JUNK = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
MACOS = "__MACOSX/"
SHOWN = 5
LABEL, SPLIT = "label", "split"
ROLES: dict[str, Role] = {LABEL: "target", SPLIT: "split"}
TYPES: dict[str, ColumnType] = {LABEL: "category"}


def without_junk(infos: Sequence[zipfile.ZipInfo], notes: Notes) -> list[zipfile.ZipInfo]:
    """Leave out, and note, what file systems leave behind."""
    junk = [info for info in infos if is_junk(info)]
    if junk:
        notes.notice(f"{len(junk)} files that systems leave behind were ignored: {some(junk)}")
    return [info for info in infos if not is_junk(info)]


def is_junk(info: zipfile.ZipInfo) -> bool:
    """Whether nobody packed this file on purpose."""
    last = info.filename.rsplit("/", 1)[-1].lower()
    return info.filename.startswith(MACOS) or last in JUNK or last.startswith("._")


def ends_in(info: zipfile.ZipInfo, endings: frozenset[str]) -> bool:
    """Whether the file's name ends in one of `endings`, in whatever case."""
    return PurePosixPath(info.filename).suffix.lower() in endings


def some(infos: Sequence[zipfile.ZipInfo]) -> str:
    """Return the first few names, for a message."""
    names = [repr(info.filename[:100]) for info in infos[:SHOWN]]
    return ", ".join(names) + (" ..." if len(infos) > SHOWN else "")


def read_folders(names: list[str], context: Context) -> dict[str, list[str]]:
    """Return what the folders say of each file: its label and its split, where they say anything.

    Raises:
        DatasetError: mixed_layout, bad_name or too_many_classes.
    """
    paths = [name.split("/") for name in names]
    if all(len(parts) > 1 and parts[0] == paths[0][0] for parts in paths):
        why = "one folder holds everything, so it is taken for a wrapper and not for a class"
        context.notes.decide("folder", paths[0][0][:100], why)
        paths = [parts[1:] for parts in paths]
    said: dict[str, list[str]] = {}
    tops = {parts[0].casefold() if len(parts) > 1 else "" for parts in paths}
    if "train" in tops and tops <= SPLIT_WORDS.keys():
        said[SPLIT] = [parts[0] for parts in paths]
        paths = [parts[1:] for parts in paths]
    loose = sum(len(parts) == 1 for parts in paths)
    if 0 < loose < len(paths):
        message = f"{loose} files lie beside the folders of classes; move each into a folder, or leave out folders"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    if not loose:
        said[LABEL] = _class_names([parts[0] for parts in paths], context.limits)
    return said


def folder_columns(said: dict[str, list[str]], rows: Ints) -> tuple[Column, ...]:
    """Return what `read_folders` found of the files at `rows` (n,) as columns."""
    return tuple(
        TextColumn(name, pa.array([values[row] for row in rows], pa.string()), typed=True)
        for name, values in said.items()
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
            raise refuse(Code.BAD_NAME, message, folder[:200])
    return [cleaned[folder] for folder in folders]
