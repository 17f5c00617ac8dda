"""Readers: one file per container; what a file is, its content says, never its name."""

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Loaded
from app.datasets.limits import Limits
from app.datasets.readers.archive import open_archive
from app.datasets.readers.arrays import read_npy, read_npz
from app.datasets.readers.documents import holds_documents, read_documents
from app.datasets.readers.images import read_images
from app.datasets.readers.npy import MAGIC as NPY
from app.datasets.readers.parquet import read_parquet
from app.datasets.readers.series_tables import as_series
from app.datasets.readers.text_tables import as_text
from app.datasets.readers.written import read_json_or_text, read_written
from app.kit import strict_json

Reader: TypeAlias = Callable[[Path, Context], Loaded]
ACCEPTED = "CSV, JSON Lines, Parquet, plain text, .npy, .npz, and zips of JPEG, PNG or WebP images or of .txt files"
IMAGES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF"}
UTF16 = (b"\xff\xfe", b"\xfe\xff")
LOOKED_AT = 4096
BOM = b"\xef\xbb\xbf"
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
JSON_ROW = re.compile(rb'\s*(\{[ \t]*["}]|\[[ \t]*\[)')
JSON_DOCUMENT = re.compile(rb"\s*(\[[ \t]*\{|\[\s*[\r\n]|\{\s*[\r\n])")
JSON_NUMBERS = re.compile(rb"\s*\[\s*(-?\d|null)")
REFUSED = {
    b"\x1f\x8b": "a gzip file; unpack it first",
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
WRITTEN = {
    re.compile(rb"%PDF-\d\.\d(\s|$)"): "a PDF",
    re.compile(rb"\s*<"): "HTML or XML; export the table as CSV",
    JSON_DOCUMENT: "one JSON document; write each row on a line of its own (JSON Lines)",
}


def read(path: Path, context: Context) -> Loaded:
    """Read the file by its content, as what the user says its rows are.

    Raises:
        DatasetError: what is wrong with it, in words for whoever uploaded it.
    """
    loaded = detect(path, context.limits)(path, context)
    return as_text(as_series(loaded, context), context)


def detect(path: Path, limits: Limits) -> Reader:
    """Return the reader for `path` by its content.

    Raises:
        DatasetError: empty_dataset; unsupported_format, which names what is accepted; or what is wrong with a zip.
    """
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
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
    if b"\0" in head and not head.startswith(UTF16) and not _mostly_text(head):
        raise DatasetError(Code.UNSUPPORTED_FORMAT, f"the format of this file is not known; {ACCEPTED} are accepted")
    return _text_reader(head)


def _is_text(head: bytes) -> bool:
    """Whether these bytes are UTF-8 without control characters: no magic letters at their front mean a binary file."""
    try:
        return not CONTROLS.search(codecs.getincrementaldecoder("utf-8")().decode(head))
    except UnicodeDecodeError:
        return False


def _mostly_text(head: bytes) -> bool:
    """Whether these bytes look like text into which a few NULs have slipped."""
    printable = sum(byte >= 0x20 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004 - ASCII controls end there
    return printable > 0.9 * len(head)


def _text_reader(head: bytes) -> Reader:
    """Return the reader of a file of text."""
    what = next((what for pattern, what in WRITTEN.items() if pattern.match(head)), None)
    if what is not None:
        raise _unsupported(what)
    return read_json_or_text if JSON_ROW.match(head) or _is_list(head) else read_written


def _is_list(head: bytes) -> bool:
    """Whether the first line is a JSON list of numbers, and not "[1] Smith, 2020"."""
    first, end, _ = head.lstrip().partition(b"\n")
    if not JSON_NUMBERS.match(first):
        return False
    try:
        cut_off = not end and len(head) >= LOOKED_AT - len(BOM)
        return cut_off or isinstance(strict_json.loads(first), list)
    except strict_json.StrictJsonError:
        return False


def _refuse_known(head: bytes) -> None:
    kind = next((kind for magic, kind in IMAGES.items() if head.startswith(magic)), None)
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # two letters are no proof; these bytes are reserved
        kind = "BMP"
    if kind is not None or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        message = f"this is one single {kind or 'WebP'} image; put many images into a zip and upload that"
        raise DatasetError(Code.UNSUPPORTED_FORMAT, message)
    what = next((what for magic, what in REFUSED.items() if head.startswith(magic)), None)
    if what is not None:
        raise _unsupported(what)


def _unsupported(what: str) -> DatasetError:
    return DatasetError(Code.UNSUPPORTED_FORMAT, f"this is {what}; {ACCEPTED} are accepted")


def _zip_reader(path: Path, limits: Limits) -> Reader:
    with open_archive(path, limits) as (_, infos):
        names = [info.filename for info in infos]
        texts = holds_documents(infos)
    if not names:
        raise DatasetError(Code.EMPTY_DATASET, "the archive holds no files; put images into it")
    if "[Content_Types].xml" in names:
        what = "an Office file; export the table as CSV"
        raise _unsupported(what)
    if texts:
        return read_documents
    return read_npz if any(name.endswith(".npy") for name in names) else read_images
