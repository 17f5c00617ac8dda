"""Opens files of rows to answer, whatever their format; the first bytes tell it, as they do for datasets."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from app.batch_predictions.row_files.archives import open_members, unpack_only
from app.batch_predictions.row_files.arrays import open_npy, open_npz
from app.batch_predictions.row_files.base import LIMITS, Block, Expected, Opening, RowFile
from app.batch_predictions.row_files.comma_separated import CommaSeparated, is_table
from app.batch_predictions.row_files.json_document import is_like_document, open_document
from app.batch_predictions.row_files.json_lines import JsonLines
from app.batch_predictions.row_files.long_series import series_of
from app.batch_predictions.row_files.parquet import Parquet
from app.batch_predictions.row_files.plain_text import PlainText
from app.batch_predictions.row_files.several_tables import open_tables
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.options import PrepareOptions
from app.datasets.readers import BOM, HEAD_BYTES, MAX_NOTES, detect, is_json_lines, packed_file
from app.datasets.readers.archive import open_archive
from app.datasets.readers.contents import sort_members
from app.datasets.readers.csv import looks_like_table, read_sample
from app.datasets.readers.encodings import UTF16_BOMS, as_utf8

__all__ = ["Block", "Expected", "Opening", "RowFile", "check_format", "open_rows"]

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_LINES, _TABLES = (".jsonl", ".ndjson"), (".csv", ".tsv")


def check_format(path: Path) -> None:
    """Refuse a file whose format is not known. Raises DatasetError."""
    if not is_like_document(path):
        detect(path, LIMITS)


def open_rows(path: Path, opening: Opening) -> RowFile:
    """Open a file of rows; one pass over it counts them.

    Raises:
        DatasetError: a fault of the file as a whole, in words for the person who sent it; faults of rows are in blocks.
    """
    return series_of(_open_any(path, opening), opening)


def _open_any(path: Path, opening: Opening) -> RowFile:
    """Open a file whose rows are lines, pictures, arrays or values of JSON."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if opening.expected.encoding == "auto" and not head.startswith(UTF16_BOMS):
        check_format(path)
    if head.startswith(_ZIP):
        return _open_archive(path, opening)
    if head.startswith(b"PAR1"):
        return Parquet(path, opening)
    if head.startswith(b"\x93NUMPY"):
        return open_npy(path, opening)
    options = PrepareOptions(encoding=opening.expected.encoding)
    context = Context(opening.scratch, options, LIMITS, opening.notes, lambda _, __: opening.tick())
    return _open_text(as_utf8(path, context), opening)


def _open_text(path: Path, opening: Opening) -> RowFile:
    """Open a text file: JSON, CSV or, for a model of texts where the first line names no column, plain text."""
    document = open_document(path, opening)
    if document is not None:
        return document
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_json_lines(head.removeprefix(BOM)) or opening.filename.lower().endswith(_LINES):
        return JsonLines(path, opening)
    if opening.expected.modality != "text" or _is_table(path, opening):
        return CommaSeparated(path, opening)
    return PlainText(path, opening)


def _is_table(path: Path, opening: Opening) -> bool:
    """Return whether a text file is a CSV: its first line names a column, or its ending or its lines say so."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample, whole = read_sample(file)
    except UnicodeDecodeError:
        return False
    ending = Path(opening.filename.lower()).suffix
    if is_table(sample, opening, whole=whole) or ending in _TABLES:
        return True
    return ending != ".txt" and looks_like_table(path, LIMITS) is not None


def _open_archive(path: Path, opening: Opening) -> RowFile:
    with open_archive(path, LIMITS, opening.expected.name_encoding) as (_, infos):
        contents = sort_members(infos)
    if contents.arrays and not contents.images:
        return open_npz(path, opening)
    of_pictures, of_texts = (partial(open_members, path, opening, pictures=pictures) for pictures in (True, False))
    if contents.images and opening.expected.modality == "image":
        return of_pictures()
    only = packed_file(contents)
    if only is not None:
        unpacked = unpack_only(path, opening, only.filename)
        return _open_any(unpacked, replace(opening.below("packed_scratch"), filename=only.filename))
    if contents.tables and len(contents.texts) <= MAX_NOTES:
        return open_tables(path, opening, _open_any)
    if contents.texts and opening.expected.modality == "text":
        return of_texts()
    if contents.tables:
        return open_tables(path, opening, _open_any)
    message = f"the zip holds nothing that a model of {opening.expected.modality}s answers"
    raise DatasetError(Code.WRONG_MODALITY, message)
