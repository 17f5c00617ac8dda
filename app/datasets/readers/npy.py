"""Opens untrusted .npy arrays: the header is checked before any data is read."""

import math
import struct
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from app.datasets.errors import Code, DatasetError, RowError

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 8192
MAX_DIMENSIONS = 8
MAX_ARRAY_BYTES = 1 << 60
KINDS = "biufU"
HEADER_FAULTS = (
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    RecursionError,
    MemoryError,
    OverflowError,
    tokenize.TokenError,
)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of data that the header promises."""
        return math.prod(self.shape) * self.dtype.itemsize


def bad_array(name: str, problem: str) -> DatasetError:
    """Return an error of the array `name`."""
    message = f"array {name}: {problem}"
    return DatasetError(Code.BAD_ARRAY, message, [RowError(loc=("file", name), msg=message)])


def open_array(path: Path, name: str) -> npt.NDArray[Any]:
    """Map the array in `path` read-only; its dtype is one of bool, int, uint, float or str.

    Raises:
        DatasetError: bad_array: the header is damaged, does not fit the size of the file, or has a type that is not
            accepted.
    """
    with path.open("rb") as file:
        header = _header(file, name)
        data_bytes = file.seek(0, 2) - header.offset
    if header.nbytes != data_bytes:
        raise bad_array(name, f"its header promises {header.nbytes} bytes and {data_bytes} follow; save it again")
    if data_bytes == 0:
        return np.empty(header.shape, header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    mapped = np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape, order=order)
    return mapped.view(np.ndarray)


def _header(file: BinaryIO, name: str) -> Header:
    major, length = _version_and_length(file, name)
    if length > MAX_HEADER_BYTES:
        raise bad_array(name, "its header is longer than any plain array needs")
    file.seek(0)
    np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2 and odd literals
            shape, fortran, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
    except HEADER_FAULTS as error:
        raise bad_array(name, "its header cannot be read; save it again with numpy.save") from error
    _check_dtype(dtype, name)
    if len(shape) > MAX_DIMENSIONS or any(isinstance(n, bool) or n < 0 for n in shape):
        raise bad_array(name, "its shape is not one of images or rows; save it again with numpy.save")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > MAX_ARRAY_BYTES:  # NumPy refuses such empty ones, too
        raise bad_array(name, "its shape is larger than any file; save it again with numpy.save")
    return Header(shape, fortran, dtype, file.tell())


def _version_and_length(file: BinaryIO, name: str) -> tuple[int, int]:
    """Return the format's major version and the header's length."""
    head = file.read(12)
    if head[:6] != MAGIC or len(head) < 12:  # noqa: PLR2004 - magic, version and length
        raise bad_array(name, "it is not a .npy array; save it with numpy.save")
    major, minor = head[6], head[7]
    if (major, minor) not in {(1, 0), (2, 0)}:
        raise bad_array(name, f"version {major}.{minor} of the .npy format is not read; 1.0 and 2.0 are")
    return major, struct.unpack("<H", head[8:10])[0] if major == 1 else struct.unpack("<I", head[8:12])[0]


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.hasobject:
        raise bad_array(name, "it holds Python objects, which are never loaded; convert it to numbers or str")
    if dtype.kind not in KINDS or dtype.names or dtype.subdtype or dtype.itemsize == 0:
        raise bad_array(name, f"type {str(dtype)[:40]} is not taken; use bool, int, uint, float or str")
    if dtype.kind == "f" and dtype.itemsize > 8:  # noqa: PLR2004 - longdouble differs between machines
        raise bad_array(name, "type longdouble is not taken; use float64")
