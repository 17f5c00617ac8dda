"""Reads several tables in one zip as one: files called train and test as its splits, others as its parts.

Each file is read as if it had been uploaded alone; then the rows stand below each other in the order of the names.
Files may lack the column that is to be learned, as tests without answers do; else all have the same columns.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.datasets.columns.names import is_called_label
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Loaded, TextColumn
from app.datasets.frames.decodings import Decodings
from app.datasets.options import PrepareOptions
from app.datasets.readers.archive import open_archive, read_chunks
from app.datasets.readers.contents import SUBMISSION, Contents, ending, name_some, notice_left_out, sort_members
from app.datasets.readers.joining import join_columns, join_inputs
from app.datasets.readers.layouts import PARTS, shared_folders
from app.datasets.readers.split_names import splits_of, words_of
from app.datasets.report import Notes, Removal
from app.ml.spec import Split, WarningCode

PART_WORDS = frozenset({"part", "of", "shard", "chunk", "batch", "file", "copy", "page"})
MAX_SHOWN = 10
SPLIT = "split"


@dataclass(frozen=True, slots=True)
class _Table:
    """A file of the archive, its rows, and its split by its name, None where names say none."""

    name: str
    loaded: Loaded
    split: Split | None

    def columns(self, options: PrepareOptions) -> list[str]:
        """Return the names of the columns that are read, and of lists that became inputs."""
        roles = self.loaded.roles | options.columns
        read = [column.name for column in self.loaded.columns if roles.get(column.name) != "ignored"]
        return [*read, *self.loaded.input_names]


def tables_of(contents: Contents) -> list[zipfile.ZipInfo]:
    """Return the tables of an archive that hold rows: not what is called a submission, next to others."""
    tables = [member for member in contents.tables if not SUBMISSION.search(member.filename)]
    return tables or contents.tables


def read_tables(path: Path, context: Context, read_any: Callable[[Path, Context], Loaded]) -> Loaded:
    """Read each table of the archive by `read_any`, and put them below each other.

    Raises:
        DatasetError: mixed_layout: the files are no parts or splits of one table; or a fault of a file, which is named.
    """
    opened = open_archive(path, context.limits, context.options.name_encoding, context.notes)
    with opened as (archive, infos):
        contents = sort_members(infos)
        members = tables_of(contents)
        splits = _splits(members)
        _check_members(members)
        notice_left_out(contents, members, context.notes)
        tables: list[_Table] = []
        for place, member in enumerate(members):
            start = sum(table.loaded.rows_read for table in tables)
            scratch = context.scratch / f"table{place}"
            scratch.mkdir()
            file_context = replace(context, scratch=scratch, notes=Notes())
            loaded = _read(archive, member, file_context, read_any)
            take_notes(file_context.notes, member.filename, start, context.notes)
            tables.append(_Table(member.filename[:200], loaded, splits.get(member.filename)))
            context.progress(0.4 * (place + 1) / len(members), f"{place + 1} of {len(members)} files read")
    return _joined(tables, context)


def _splits(members: Sequence[zipfile.ZipInfo]) -> dict[str, Split]:
    """Return the splits of files whose names or folders say so, by name: train.csv and test.csv.

    Raises:
        DatasetError: mixed_layout: some say so, and some do not.
    """
    wrappers = len(shared_folders([tuple(member.filename.split("/")[:-1]) for member in members]))
    names = {
        "/".join(member.filename.split("/")[wrappers:])[: -len(ending(member))]: member.filename for member in members
    }
    splits = splits_of(names, alike=True)
    some = splits_of(names, alike=False)
    if some and not splits and (len(some) < len(names) or len(set(some.values())) > 1):
        message = (
            f"by their names some of the tables {name_some(members)} are splits, and not all are alike; call them "
        )
        message += "train.csv, validation.csv and test.csv, and leave out the others, or upload one table"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    if splits and "train" not in splits.values():
        message = f"none of the tables {name_some(members)} is train, and a model learns from that; add it"
        raise DatasetError(Code.BAD_SPLIT, message)
    folders = {name.rpartition("/")[0] for name in names}
    if (
        not splits
        and len(folders) > 1
        and not all(PARTS.fullmatch(part) for part in "/".join(folders).split("/") if part)
    ):
        message = (
            f"the tables {name_some(members)} lie in different folders, and what these say of the rows is not known; "
        )
        message += "upload one table, with a column for what the folders say, or call them train and test"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    return {names[name]: split for name, split in splits.items()}


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse tables of several formats, and copies: their rows would be there twice."""
    first = members[0]
    other = next((member for member in members if ending(member) != ending(first)), None)
    if other is not None:
        message = f"{first.filename!r} and {other.filename!r} are tables of different formats; upload those of one"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    seen: dict[tuple[int, int], str] = {}
    for member in members:
        known = seen.setdefault((member.CRC, member.file_size), member.filename)
        if known != member.filename:
            message = f"{known!r} and {member.filename!r} hold the same, so that all rows would be there twice; "
            raise DatasetError(Code.MIXED_LAYOUT, f"{message}leave one out")


def _read(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, context: Context, read_any: Callable[[Path, Context], Loaded]
) -> Loaded:
    """Read a file of the archive; its faults name it."""
    try:
        return read_any(unpack(archive, member, context), context)
    except DatasetError as error:
        message = f"{member.filename[:200]!r}: {error.message}"
        raise DatasetError(error.code, message, error.errors) from error


def unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, context: Context) -> Path:
    """Write a member to the scratch folder; refuse an archive in the archive."""
    target = context.scratch / "packed"
    with target.open("wb") as file:
        for chunk in read_chunks(archive, member, context.limits.unpacked_bytes):
            file.write(chunk)
    with target.open("rb") as file:
        if file.read(2) == b"PK":
            raise DatasetError(Code.UNSUPPORTED_FORMAT, f"{member.filename!r} is an archive in the archive; unpack it")
    return target


def take_notes(notes: Notes, name: str, start: int, into: Notes) -> None:
    """Add the notes of a file whose first row is row `start` of all; what other files say, too, is said once."""
    known = {decision.field: decision.value for decision in into.decisions}
    for decision in notes.decisions:
        if decision.field not in known:
            into.decisions.append(decision)
        elif decision.value != known[decision.field]:
            into.decisions.append(decision.model_copy(update={"reason": f"{name[:100]}: {decision.reason}"}))
    for notice in notes.notices:
        into.notice(f"{name[:100]}: {notice}")
    for warning in notes.warnings:
        rows = tuple(start + row for row in warning.rows)
        message = f"{name[:100]}: {warning.message}"
        into.warnings.append(warning.model_copy(update={"message": message, "rows": rows}))


def _joined(tables: list[_Table], context: Context) -> Loaded:
    """Return the tables as one, with a column of splits where their names say them."""
    files = [(table.name, table.loaded) for table in tables]
    first = next((table for table in tables if table.split == "train"), tables[0])
    targets = _targets(tables, context.options)
    _check_columns(tables, first, targets, context.options)
    names = list(dict.fromkeys(column.name for table in (first, *tables) for column in table.loaded.columns))
    _check_size(sum(len(loaded.rows) for _, loaded in files), len(names), context)
    columns = [join_columns(name, files) for name in names]
    roles = {name: role for _, loaded in reversed(files) for name, role in loaded.roles.items()}
    roles |= dict.fromkeys(targets, "target")
    split = _split_column(tables, targets, context)
    if split is not None and SPLIT not in names:
        columns.append(split)
        roles[SPLIT] = "split"
    starts = np.cumsum([0, *(loaded.rows_read for _, loaded in files)])
    return replace(
        first.loaded,
        rows_read=int(starts[-1]),
        rows=np.concatenate([loaded.rows + start for (_, loaded), start in zip(files, starts, strict=False)]),
        inputs=join_inputs(files, context),
        columns=tuple(columns),
        roles=roles,
        types={name: kind for _, loaded in reversed(files) for name, kind in loaded.types.items()},
        corrupt=[
            Removal(row=removal.row + int(start), reason=removal.reason, detail=removal.detail)
            for (_, loaded), start in zip(files, starts, strict=False)
            for removal in loaded.corrupt
        ],
        decodings=Decodings.joined([loaded.decodings for _, loaded in files]),
    )


def _targets(tables: list[_Table], options: PrepareOptions) -> set[str]:
    """Return the columns that files of validation or test lack, and train has, if they are what to learn.

    They are where the user says so, and the only one is where no other column is called label.
    """
    if tables[0].split is None:
        return set()
    train = {name for table in tables if table.split == "train" for name in table.columns(options)}
    lacking = {name for table in tables if table.split != "train" for name in train - set(table.columns(options))}
    chosen = {name for name, role in options.columns.items() if role == "target"}
    if chosen:
        return lacking if lacking <= chosen else set()
    others = any(is_called_label(name) for name in train - lacking)
    return lacking if len(lacking) == 1 and not others else set()


def _check_columns(tables: list[_Table], first: _Table, targets: set[str], options: PrepareOptions) -> None:
    """Refuse tables whose columns differ from those of the `first`, except that some lack the targets."""
    expected = first.columns(options)
    for table in tables:
        columns = table.columns(options)
        missing = [name for name in expected if name not in columns and name not in targets]
        extra = [name for name in columns if name not in expected]
        if missing or extra:
            message = f"the tables {first.name!r} and {table.name!r} are read as one, and their columns differ: "
            message += "; ".join(
                f"{', '.join(names[:MAX_SHOWN])} {'is' if len(names) == 1 else 'are'} only in {owner!r}"
                for names, owner in ((missing, first.name), (extra, table.name))
                if names
            )
            name = (missing or extra)[0]
            message += f'; make them alike, leave columns out with columns={{"{name}": "ignored"}}, '
            message += 'say which are targets with "target", or upload one table'
            raise DatasetError(Code.MIXED_LAYOUT, message, [RowError((name,), message)])


def _split_column(tables: list[_Table], targets: set[str], context: Context) -> Column | None:
    """Return the splits of all rows, None where names say none, or where train alone has labels; decide and warn."""
    shown = ", ".join(table.name for table in tables[:MAX_SHOWN]) + (" ..." if len(tables) > MAX_SHOWN else "")
    if tables[0].split is None:
        _note_parts(tables, shown, context)
        return None
    without = [table for table in tables if not targets <= set(table.columns(context.options))]
    for target in targets - set(context.options.columns):
        names = ", ".join(table.name for table in without)
        reason = f"{names} lacks this column, which train has: its rows are rows without labels"
        context.notes.decide(f"columns.{target}", "target", reason, f'columns={{"{target}": "ignored"}}')
    if len({table.split for table in tables if table not in without}) == 1:
        reason = "the files without labels can measure nothing, so the labelled rows are split anew"
        context.notes.decide("files", shown, reason, "add labels to the file test, which then is the split")
        return None
    reason = ", ".join(f"{table.name} is {table.split}" for table in tables[:MAX_SHOWN])
    context.notes.decide("files", shown, reason, f'columns={{"{SPLIT}": "ignored"}}')
    splits = [value for table in tables for value in [str(table.split)] * len(table.loaded.rows)]
    return TextColumn(SPLIT, pa.chunked_array([pa.array(splits, pa.string())]), typed=True)


def _note_parts(tables: list[_Table], shown: str, context: Context) -> None:
    """Record that the tables are parts of one, with a warning where their names may say something of the rows."""
    reason = "they have the same columns, and are parts of one table, in the order of their names"
    context.notes.decide("files", shown, reason, "leave out of the archive what holds no rows of the table")
    stems = {tuple(word for word in words_of(table.name) if not _counts(word)) for table in tables}
    if len(stems) > 1:
        message = f"the rows of {len(tables)} tables were put below each other, and which was in which is not learned: "
        remedy = "add a column that says it, where the names mean something; or call the files train.csv and test.csv"
        context.notes.warn(WarningCode.FILES_JOINED, message + shown, count=len(tables), remedy=remedy)


def _counts(word: str) -> bool:
    """Return whether a word of a name only tells parts apart."""
    return word.isdigit() or word in PART_WORDS or len(word) == 1


def _check_size(rows: int, columns: int, context: Context) -> None:
    limits = context.limits
    if rows > limits.rows or rows * columns > limits.cells:
        message = f"the tables have {rows} rows of {columns} columns together; at most {limits.rows} rows and "
        raise DatasetError(Code.TOO_LARGE, f"{message}{limits.cells} cells are taken")
