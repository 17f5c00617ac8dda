"""Readers of uploaded files, a module for each format; the format is known by the content, never by the name."""

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from zipfile import ZipInfo

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Loaded
from app.datasets.limits import Limits
from app.datasets.readers.archive import open_archive
from app.datasets.readers.arrays import read_npy, read_npz
from app.datasets.readers.contents import Contents, ending, notice_left_out, sort_members
from app.datasets.readers.csv import looks_like_table, read_csv
from app.datasets.readers.documents import read_documents
from app.datasets.readers.encodings import UTF16_BOMS, as_utf8
from app.datasets.readers.images import read_images
from app.datasets.readers.jsonl import read_jsonl
from app.datasets.readers.npy import MAGIC as NPY
from app.datasets.readers.parquet import read_parquet
from app.datasets.readers.plain_text import read_plain
from app.datasets.readers.series_tables import with_series
from app.datasets.readers.several_tables import read_tables, tables_of, unpack
from app.datasets.readers.text_tables import with_texts
from app.datasets.readers.written_lists import with_written_lists
from app.datasets.readers.written_vectors import with_written_vectors
from app.kit import strict_json

Reader: TypeAlias = Callable[[Path, Context], Loaded]
ACCEPTED = "CSV, JSON Lines, Parquet, plain text, .npy, .npz, and zips of JPEG, PNG or WebP images or of .txt files"
IMAGE_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF"}
HEAD_BYTES = 4096
TAR_PLACE = 257
MIN_UTF16 = 8
UTF16_SHARE = 0.9
MAX_TEXTS_PER_IMAGE = 10
MAX_NOTES = 3
BOM = b"\xef\xbb\xbf"
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
JSON_ROW = re.compile(rb'\s*(\{[ \t]*["}]|\[[ \t]*\[)')
JSON_DOCUMENT = re.compile(rb"\s*(\[[ \t]*\{|\[\s*[\r\n]|\{\s*[\r\n])")
JSON_NUMBERS = re.compile(rb"\s*\[\s*(-?\d|null)")
UNSUPPORTED_MAGIC = {
    b"\x1f\x8b": "a gzip file; unpack it first, and pack several files as zip",
    b"\xfd7zXZ\0": "an xz file; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; pack it as zip",
    b"Rar!": "a rar archive; pack it as zip",
    b"%PDF": "a PDF",
    b"\x80\x02": "a pickle, which is never loaded",
    b"\x80\x04": "a pickle, which is never loaded",
    b"\x80\x05": "a pickle, which is never loaded",
    b"\xd0\xcf\x11\xe0": "an old Office file; export it as CSV",
    b"\x89HDF": "an HDF5 file; save the arrays with numpy.savez",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"ARROW1": "an Arrow file; save it as Parquet",
}
UNSUPPORTED_TEXT = {
    re.compile(rb"%PDF-\d\.\d(\s|$)"): "a PDF",
    re.compile(rb"\s*<"): "HTML or XML; export the table as CSV",
    re.compile(rb"(?i)(\s*%[^\n]*\n|\s*\n)*\s*@relation\b"): "an ARFF file; export the table as CSV",
    re.compile(
        rb"[-+]?\d+(\.\d+)?( +\d+:[-+.\deE]+)+\s*\n"
    ): "a LIBSVM file; write its numbers as CSV, or as arrays x and y with numpy.savez",
    JSON_DOCUMENT: "one JSON document; write each row on a line of its own (JSON Lines)",
}


def read(path: Path, context: Context) -> Loaded:
    """Read a file of any format; its rows become texts or series where the options say so.

    Raises:
        DatasetError: a fault of the file, in words for the person who uploaded it.
    """
    loaded = with_written_lists(with_written_vectors(_read_any(path, context), context), context)
    return with_texts(with_series(loaded, context), context)


def _read_any(path: Path, context: Context) -> Loaded:
    """Read a file by the reader of its format; text is made UTF-8 first."""
    if context.options.encoding == "utf-16":  # without a byte order mark its bytes are those of no text
        path = as_utf8(path, context)
        return detect(path, context.limits)(path, context)
    reader = detect(path, context.limits)
    if reader not in {_read_json_or_text, _read_csv_or_text}:
        return reader(path, context)
    path = as_utf8(path, context)
    return detect(path, context.limits)(path, context)


def detect(path: Path, limits: Limits) -> Reader:
    """Return the reader of the file, by its first bytes.

    Raises:
        DatasetError: empty_dataset; unsupported_format, which names what is accepted; or what is wrong with a zip.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, file.seek(0, 2) - 4))
        tail = file.read()
    if not head.strip():
        raise DatasetError(Code.EMPTY_DATASET, "the file is empty; upload one that holds rows or images")
    if _is_text(head):
        return _text_reader(head.removeprefix(BOM))
    if head.startswith(NPY):
        return read_npy
    if head.startswith(b"PAR1") or (head.startswith(b"PARE") and tail == b"PARE"):
        return read_parquet
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_reader(path, limits)
    _refuse_known(head)
    if head[TAR_PLACE : TAR_PLACE + 5] == b"ustar":
        what = "a tar archive; pack the files as zip"
        raise _unsupported(what)
    if not head.startswith(UTF16_BOMS) and _is_utf16(head):
        message = 'this may be UTF-16 text without a byte order mark; send encoding="utf-16", or save it as UTF-8'
        raise DatasetError(Code.ENCODING, message, [RowError(("encoding",), message)])
    if b"\0" in head and not head.startswith(UTF16_BOMS) and not _mostly_text(head):
        raise DatasetError(Code.UNSUPPORTED_FORMAT, f"the format of this file is not known; {ACCEPTED} are accepted")
    return _text_reader(head)


def _is_text(head: bytes) -> bool:
    """Return whether these bytes are UTF-8 without control characters, whatever magic letters they begin with."""
    try:
        return not CONTROLS.search(codecs.getincrementaldecoder("utf-8")().decode(head))
    except UnicodeDecodeError:
        return False


def _is_utf16(head: bytes) -> bool:
    """Return whether every second byte is NUL and the others are ASCII, as in UTF-16 without its mark."""
    high, low = head[1::2], head[0::2]
    nuls, letters = (high, low) if high.count(0) > low.count(0) else (low, high)
    return len(head) > MIN_UTF16 and nuls.count(0) > UTF16_SHARE * len(nuls) and _mostly_text(letters)


def _mostly_text(head: bytes) -> bool:
    """Return whether these bytes look like text with a few NULs in it."""
    printable = sum(byte >= 0x20 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004 - ASCII controls end there
    return printable > 0.9 * len(head)


def _text_reader(head: bytes) -> Reader:
    """Return the reader of a text file."""
    reason = next((reason for pattern, reason in UNSUPPORTED_TEXT.items() if pattern.match(head)), None)
    if reason is not None:
        raise _unsupported(reason)
    return _read_json_or_text if is_json_lines(head) else _read_csv_or_text


def is_json_lines(head: bytes) -> bool:
    """Return whether a text file that begins like this, without a byte order mark, is JSON Lines."""
    return JSON_ROW.match(head) is not None or _is_list(head)


def _is_list(head: bytes) -> bool:
    """Return whether the first line is a JSON list of numbers, and not "[1] Smith, 2020"."""
    first, end, _ = head.lstrip().partition(b"\n")
    if not JSON_NUMBERS.match(first):
        return False
    try:
        cut_off = not end and len(head) >= HEAD_BYTES - len(BOM)
        return cut_off or isinstance(strict_json.loads(first), list)
    except strict_json.StrictJsonError:
        return False


def _refuse_known(head: bytes) -> None:
    """Refuse well-known formats that are not read, with what to do instead."""
    kind = next((kind for magic, kind in IMAGE_MAGIC.items() if head.startswith(magic)), None)
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # two letters are no proof; these bytes are reserved
        kind = "BMP"
    if kind is not None or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        message = f"this is one single {kind or 'WebP'} image; put many images into a zip and upload that"
        raise DatasetError(Code.UNSUPPORTED_FORMAT, message)
    what = next((what for magic, what in UNSUPPORTED_MAGIC.items() if head.startswith(magic)), None)
    if what is not None:
        raise _unsupported(what)


def _unsupported(what: str) -> DatasetError:
    return DatasetError(Code.UNSUPPORTED_FORMAT, f"this is {what}; {ACCEPTED} are accepted")


def _zip_reader(path: Path, limits: Limits) -> Reader:
    """Return the reader of a zip, by the files in it."""
    with open_archive(path, limits) as (_, infos):
        contents = sort_members(infos)
        names = [info.filename for info in infos]
    if not names:
        raise DatasetError(Code.EMPTY_DATASET, "the archive holds no files; put images into it")
    if "[Content_Types].xml" in names:
        what = "an Office file; export the table as CSV"
        raise _unsupported(what)
    if contents.arrays and not contents.images:
        return read_npz
    if contents.images and MAX_TEXTS_PER_IMAGE * len(contents.images) >= len(contents.texts):
        return read_images
    if packed_file(contents) is not None:
        return _read_packed
    if contents.tables and len(contents.texts) <= MAX_NOTES:
        return _read_tables
    if contents.texts:
        return read_documents
    return read_images


def packed_file(contents: Contents) -> ZipInfo | None:
    """Return the only file of an archive that holds rows, all of them: a table, or one text."""
    tables = tables_of(contents)
    if len(tables) == 1 and len(contents.texts) <= MAX_NOTES:
        return tables[0]
    if len(contents.texts) == 1 and not contents.tables:
        return contents.texts[0]
    documents = [member for member in contents.others if ending(member) == ".json"]
    return documents[0] if len(documents) == 1 and not contents.texts and not contents.tables else None


def _read_packed(path: Path, context: Context) -> Loaded:
    """Read the only file of an archive that holds rows."""
    opened = open_archive(path, context.limits, context.options.name_encoding, context.notes)
    with opened as (archive, infos):
        contents = sort_members(infos)
        member = packed_file(contents)
        assert member is not None  # _zip_reader has looked
        target = unpack(archive, member, context)
        notice_left_out(contents, [member], context.notes)
    context.notes.decide("file", member.filename[:200], "it is the only file of the archive that holds rows")
    return _read_any(target, context)


def _read_tables(path: Path, context: Context) -> Loaded:
    """Read the tables of an archive as one."""
    return read_tables(path, context, _read_any)


def _read_json_or_text(path: Path, context: Context) -> Loaded:
    """Read JSON Lines, or plain text where the option `text` is given."""
    return (read_jsonl if context.options.text is None else read_plain)(path, context)


def _read_csv_or_text(path: Path, context: Context) -> Loaded:
    """Read CSV; or plain text where `text` is given, or where the modality is text and the file is no table."""
    options = context.options
    if options.text is not None:
        return read_plain(path, context)
    if options.modality != "text" or options.columns or options.types:
        return read_csv(path, context)
    why = looks_like_table(path, context.limits)
    if why is not None:
        context.notes.decide("format", "csv", f"{why}; text says how plain text is cut", 'text={"rows": "lines"}')
        return read_csv(path, context)
    context.notes.decide("format", "plain text", "its lines are no rows of a table; columns says what a CSV holds")
    return read_plain(path, context)
