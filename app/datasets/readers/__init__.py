"""Readers: one file per container; what a file is, its first bytes say, never its name."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from app.datasets.errors import Code, DatasetError
from app.datasets.frame import Loaded, Notes
from app.datasets.options import Limits, PrepareOptions
from app.datasets.readers.archive import open_archive
from app.datasets.readers.arrays import read_npy, read_npz
from app.datasets.readers.npy import MAGIC as NPY

Reader: TypeAlias = Callable[[Path, Path, PrepareOptions, Limits, Notes], Loaded]
ACCEPTED = "CSV, Parquet, .npy, .npz, and zips of JPEG, PNG or WebP images"
IMAGES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF"}
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


def detect(path: Path, limits: Limits) -> Reader:
    """Return the reader for `path` by its content.

    Raises:
        DatasetError: empty_dataset, or unsupported_format, which names what is accepted.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise DatasetError(Code.EMPTY_DATASET, "the file is empty; upload one that holds rows or images")
    if head.startswith(NPY):
        return read_npy
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_reader(path, limits)
    _refuse_known(head)
    raise DatasetError(Code.UNSUPPORTED_FORMAT, f"the format of this file is not known; {ACCEPTED} are accepted")


def _refuse_known(head: bytes) -> None:
    kind = next((kind for magic, kind in IMAGES.items() if head.startswith(magic)), None)
    if kind is not None or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        message = f"this is one single {kind or 'WebP'} image; put many images into a zip and upload that"
        raise DatasetError(Code.UNSUPPORTED_FORMAT, message)
    what = next((what for magic, what in REFUSED.items() if head.startswith(magic)), None)
    if what is not None:
        raise DatasetError(Code.UNSUPPORTED_FORMAT, f"this is {what}; {ACCEPTED} are accepted")


def _zip_reader(path: Path, limits: Limits) -> Reader:
    return read_npz
