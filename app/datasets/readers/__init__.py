"""Readers: one file per container; what a file is, its first bytes say, never its name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from app.datasets.errors import Code, DatasetError
from app.datasets.frame import Context, Loaded
from app.datasets.options import Limits
from app.datasets.readers.archive import open_archive
from app.datasets.readers.arrays import read_npy, read_npz
from app.datasets.readers.csv import read_csv
from app.datasets.readers.images import read_images
from app.datasets.readers.npy import MAGIC as NPY
from app.datasets.readers.parquet import read_parquet

Reader: TypeAlias = Callable[[Path, Context], Loaded]
ACCEPTED = "CSV, Parquet, .npy, .npz, and zips of JPEG, PNG or WebP images"
IMAGES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF"}
UTF16 = (b"\xff\xfe", b"\xfe\xff")
LOOKED_AT = 4096
JSON_LIST = re.compile(rb"\[\s*[\[{]")
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
    b"{": "JSON; export the table as CSV",
    b"<": "HTML or XML; export the table as CSV",
}


def read(path: Path, context: Context) -> Loaded:
    """Read the file by its content.

    Raises:
        DatasetError: what is wrong with it, in words for whoever uploaded it.
    """
    return detect(path, context.limits)(path, context)


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
    if head.startswith(NPY):
        return read_npy
    if head.startswith(b"PAR1") or (head.startswith(b"PARE") and tail == b"PARE"):
        return read_parquet
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_reader(path, limits)
    _refuse_known(head)
    if b"\0" in head and not head.startswith(UTF16) and not _mostly_text(head):
        raise DatasetError(Code.UNSUPPORTED_FORMAT, f"the format of this file is not known; {ACCEPTED} are accepted")
    return read_csv


def _mostly_text(head: bytes) -> bool:
    """Whether these bytes look like text into which a few NULs have slipped."""
    printable = sum(byte >= 0x20 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004 - ASCII controls end there
    return printable > 0.9 * len(head)


def _refuse_known(head: bytes) -> None:
    kind = next((kind for magic, kind in IMAGES.items() if head.startswith(magic)), None)
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # two letters are no proof; these bytes are reserved
        kind = "BMP"
    if kind is not None or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        message = f"this is one single {kind or 'WebP'} image; put many images into a zip and upload that"
        raise DatasetError(Code.UNSUPPORTED_FORMAT, message)
    what = next((what for magic, what in REFUSED.items() if head.startswith(magic)), None)
    if JSON_LIST.match(head):
        what = REFUSED[b"{"]
    if what is not None:
        raise DatasetError(Code.UNSUPPORTED_FORMAT, f"this is {what}; {ACCEPTED} are accepted")


def _zip_reader(path: Path, limits: Limits) -> Reader:
    with open_archive(path, limits) as (_, infos):
        names = [info.filename for info in infos]
    if not names:
        raise DatasetError(Code.EMPTY_DATASET, "the archive holds no files; put images into it")
    if "[Content_Types].xml" in names:
        message = f"this is an Office file; export the table as CSV; {ACCEPTED} are accepted"
        raise DatasetError(Code.UNSUPPORTED_FORMAT, message)
    return read_npz if any(name.endswith(".npy") for name in names) else read_images
