"""Labels that a table in a zip gives the files next to it: labels.csv with filename,label or Hugging Face's metadata.

The table is known by a column that names nearly all files: by path, by name, or by name without its ending. Tables with
the same columns, one for each folder, are read as one.
"""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from app.datasets.columns.names import is_called_label
from app.datasets.columns.roles import assign_roles
from app.datasets.context import Context
from app.datasets.errors import DatasetError
from app.datasets.frames import Column, DateColumn, Ints, LabelsColumn, Loaded, NumberColumn, Role, TextColumn
from app.datasets.options import PrepareOptions
from app.datasets.readers.archive import read_chunks
from app.datasets.readers.contents import SUBMISSION, Contents, ending, notice_left_out, warn_of_left_out
from app.datasets.readers.csv import read_csv
from app.datasets.readers.file_names import warn_of_names
from app.datasets.readers.folders import ROLES, MemberFolders, read_folders
from app.datasets.readers.joining import concatenated
from app.datasets.readers.jsonl import read_jsonl
from app.datasets.readers.split_names import splits_of
from app.datasets.readers.text_columns import labels_beside
from app.datasets.report import Notes
from app.ml.spec import WarningCode

MAX_TABLE_BYTES = 64 << 20
MIN_NAMED_SHARE = 0.9
MAX_SHOWN = 20
READERS = {".csv": read_csv, ".tsv": read_csv, ".jsonl": read_jsonl, ".ndjson": read_jsonl}
FILE_ENDING = re.compile(r"\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|txt)$", re.IGNORECASE)
SEVERAL = -1


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What tables say of files: columns (N,) of all N files, null where no row names a file, and the tables."""

    columns: tuple[Column, ...]
    roles: dict[str, Role]
    members: list[zipfile.ZipInfo]

    def at(self, rows: Ints) -> tuple[Column, ...]:
        """Return the columns of the files at `rows` (n,)."""
        return tuple(_take(column, rows) for column in self.columns)


def read_label_table(
    archive: zipfile.ZipFile,
    contents: Contents,
    folders: MemberFolders,
    context: Context,
) -> LabelTable | None:
    """Return the labels of the files of `folders` (N,) that tables next to them hold; None where none names nearly all.

    Where folders give splits, or say that files have no label, it is enough that a table names nearly all of the others
    in train. Tables called train and test are splits, unless folders give them.
    """
    files, splits = folders.members, folders.splits
    names = _Names(files, folders.unlabelled)
    tables = [table for member in contents.tables if (table := _read(archive, member, names, context)) is not None]
    asked = np.array([split in {None, "train"} for split in splits or [None] * len(files)])
    asked[folders.unlabelled] = False
    for group in _alike(tables):
        joined = _join(group, len(files))
        if joined is not None and asked.any() and (joined.rows >= 0)[asked].mean() >= MIN_NAMED_SHARE:
            return _labels(joined, group, splits is not None, context)
    return None


def read_labels(
    archive: zipfile.ZipFile, contents: Contents, members: Sequence[zipfile.ZipInfo], context: Context
) -> tuple[MemberFolders, LabelTable | None]:
    """Return what folders say of the `members` that are rows, and what tables say where folders give no labels.

    Files that were not read are named, and warned of where they may hold labels.

    Raises:
        DatasetError: as of `read_folders`.
    """
    folders = read_folders(members, context)
    table = None if folders.have_labels else read_label_table(archive, contents, folders, context)
    rows = [*members, *(table.members if table else ())]
    notice_left_out(contents, rows, context.notes)
    if table is None and not folders.have_labels:
        warn_of_names(folders.train, context.notes)
    without_labels = folders.without_labels if table is None else []
    warn_of_left_out(archive, contents, rows, context.notes, without_labels=without_labels, classes=folders.classes)
    return folders, table


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose column `key` names files: `rows` (n,) of it and the places (n,) of the `files` that they name."""

    member: zipfile.ZipInfo
    loaded: Loaded
    key: str
    rows: Ints
    files: Ints


@dataclass(frozen=True, slots=True)
class _Joined:
    """Columns of several tables below each other, and the row of each file in them, (N,), -1 where there is none."""

    columns: tuple[Column, ...]
    rows: Ints


class _Names:
    """Finds files by what tables call them: the path, its last parts, with or without the ending, in any case."""

    def __init__(self, files: Sequence[zipfile.ZipInfo], unlabelled: Ints) -> None:
        self._places: dict[str, int] = {}
        nameless = set(unlabelled.tolist())  # no table means these, even where it names others that are called so
        for place, file in enumerate(files):
            if place in nameless:
                continue
            path = file.filename.casefold()
            parts = path.split("/")
            for start in range(len(parts)):
                suffix = "/".join(parts[start:])
                for name in {suffix, suffix.rpartition(".")[0]}:
                    known = self._places.get(name, place)
                    self._places[name] = place if known == place else SEVERAL

    def place(self, name: str, folder: str) -> int | None:
        """Return the place of the file that a table in `folder` calls `name`; None where none or several are."""
        parts = name.strip().replace("\\", "/").removeprefix("./").strip("/").casefold().split("/")
        paths = [folder + "/".join(parts), *("/".join(parts[start:]) for start in range(len(parts)))]
        return next((self._places[path] for path in paths if self._places.get(path, SEVERAL) != SEVERAL), None)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, names: _Names, context: Context) -> _Table | None:
    """Return a table that names files, each once; None where it does not, or cannot be read."""
    reader = READERS.get(ending(member))
    if reader is None or member.file_size > MAX_TABLE_BYTES or SUBMISSION.search(member.filename):
        return None
    path = context.scratch / "labels"
    with path.open("wb") as file:
        for chunk in read_chunks(archive, member, MAX_TABLE_BYTES):
            file.write(chunk)
    try:
        loaded = reader(path, replace(context, options=PrepareOptions(), notes=Notes()))
    except DatasetError:
        return None
    if loaded.inputs is not None or not loaded.columns:
        return None
    open_columns = [column for column in loaded.columns if loaded.roles.get(column.name) != "ignored"]
    with_endings = [column for column in open_columns if _have_endings(column)]  # others may count rows, and not files
    tables = [_named_by(member, loaded, column, names) for column in with_endings or open_columns]
    best = max(tables, key=lambda table: len(table.files))
    return best if len(best.files) and len(set(best.files.tolist())) == len(best.files) else None


def _named_by(member: zipfile.ZipInfo, loaded: Loaded, column: Column, names: _Names) -> _Table:
    folder = member.filename.casefold().rpartition("/")[0]
    folder = f"{folder}/" if folder else ""
    places = [None if name is None else names.place(name, folder) for name in _texts(column)]
    rows = [row for row, place in enumerate(places) if place is not None]
    files = [place for place in places if place is not None]
    return _Table(member, loaded, column.name, np.array(rows, np.int64), np.array(files, np.int64))


def _have_endings(column: Column) -> bool:
    """Return whether most values end like names of files."""
    texts = [text for text in _texts(column) if text]
    return 2 * sum(FILE_ENDING.search(text.strip()) is not None for text in texts) > len(texts)


def _texts(column: Column) -> list[str | None]:
    """Return the values of a column as names of files; whole numbers have one, too."""
    if isinstance(column, TextColumn):
        texts: list[str | None] = column.values.to_pylist()
        return texts
    if isinstance(column, NumberColumn) and column.whole and not column.boolean:
        return [None if np.isnan(value) else str(int(value)) for value in column.values]
    return []


def _alike(tables: list[_Table]) -> list[list[_Table]]:
    """Return the tables in groups of the same columns, the group that names most files first."""
    groups: dict[tuple[Any, ...], list[_Table]] = {}
    for table in tables:
        kinds = tuple((column.name, type(column)) for column in table.loaded.columns)
        groups.setdefault((table.key, *kinds), []).append(table)
    return sorted(groups.values(), key=lambda group: -sum(len(table.files) for table in group))


def _join(group: list[_Table], files: int) -> _Joined | None:
    """Return the tables of a group below each other; None where two of them name the same file."""
    rows = np.full(files, -1)
    start = 0
    for table in group:
        if (rows[table.files] >= 0).any():
            return None
        rows[table.files] = start + table.rows
        start += table.loaded.rows_read
    columns = [
        concatenated([table.loaded.columns[place] for table in group])
        for place, column in enumerate(group[0].loaded.columns)
        if column.name != group[0].key and group[0].loaded.roles.get(column.name) != "ignored"
    ]
    return _Joined(tuple(columns), rows)


def _take(column: Column, rows: Ints) -> Column:
    """Return the rows (n,) of a column; missing values where a row is -1."""
    if isinstance(column, TextColumn | LabelsColumn):
        return replace(column, values=column.values.take(pa.array(rows, mask=rows < 0)))
    return replace(column, values=np.where(rows < 0, np.nan, column.values[rows]))


def _labels(joined: _Joined, group: list[_Table], has_splits: bool, context: Context) -> LabelTable:
    """Return the columns of all files, of which one is the target where that is known; else it is asked for."""
    taken = [_take(column, joined.rows) for column in joined.columns]
    columns = [column for column in taken if not (has_splits and column.name == "split")]
    table = Loaded("csv", "table", len(joined.rows), np.arange(len(joined.rows)), None, tuple(columns))
    known = {name: role for name, role in context.options.columns.items() if name in {c.name for c in columns}}
    roles = assign_roles(table, PrepareOptions(columns=known), Notes())
    free: list[Column] = [
        column for column in columns if roles[column.name] == "auto" and not isinstance(column, DateColumn)
    ]
    targets = [name for name, role in roles.items() if role == "target"]
    if not targets:
        called = [column for column in free if is_called_label(column.name)]
        guess = called[0].name if len(called) == 1 else _only(free) or labels_beside("the files", free, Notes())
        targets = [] if guess is None else [guess]
    shown = ", ".join(table.member.filename[:100] for table in group[:5])
    named = f"its column {group[0].key} names {int((joined.rows >= 0).sum())} of {len(joined.rows)} files"
    others = [column.name for column in free if column.name not in targets]
    if targets:
        reason = f"{named}, and {', '.join(targets[:MAX_SHOWN])} {'is' if len(targets) == 1 else 'are'} what to learn"
        context.notes.decide("labels", shown, reason, f'columns={{"{targets[0]}": "ignored"}}')
    elif others:
        _warn_of_open_target(shown, named, others, context)
    if targets and others:
        context.notes.notice(f"columns left out, as the rows are files: {', '.join(others[:MAX_SHOWN])}")
    columns, label_roles = list(columns), dict.fromkeys(targets, ROLES["label"])
    splits = None if has_splits or any(column.name == "split" for column in columns) else _splits(joined, group)
    if splits is not None:
        context.notes.decide("split", shown, "the tables are called so", 'columns={"split": "ignored"}')
        columns.append(splits)
        label_roles["split"] = ROLES["split"]
    return LabelTable(tuple(columns), label_roles, [table.member for table in group])


def _splits(joined: _Joined, group: list[_Table]) -> Column | None:
    """Return the splits of all files by the names of the tables that name them; None where these say none."""
    stems = {table.member.filename.rpartition(".")[0] for table in group}
    splits = splits_of(stems, alike=True)
    if "train" not in splits.values():
        return None
    values = ["train"] * len(joined.rows)
    for table in group:
        for place in table.files:
            values[place] = splits[table.member.filename.rpartition(".")[0]]
    return TextColumn("split", pa.chunked_array([pa.array(values, pa.string())]), typed=True)


def _only(columns: list[Column]) -> str | None:
    return columns[0].name if len(columns) == 1 else None


def _warn_of_open_target(shown: str, named: str, names: list[str], context: Context) -> None:
    message = f"{shown}: {named}, and which of its other columns is the target is open: {', '.join(names[:MAX_SHOWN])}"
    remedy = f'columns={{"{names[0]}": "target"}}; several columns may be targets'
    context.notes.warn(WarningCode.FILES_NOT_READ, message, count=1, remedy=remedy)
