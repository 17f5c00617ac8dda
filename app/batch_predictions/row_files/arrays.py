"""Arrays: the first axis of a .npy file, or of the inputs in an .npz, counts the rows; they are mapped, not read."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.batch_predictions.row_files.base import (
    LIMITS,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_ROWS,
    Block,
    ColumnType,
    Opening,
)
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.options import PrepareOptions
from app.datasets.readers.archive import archive_error, open_archive, read_chunks
from app.datasets.readers.array_names import named_arrays
from app.datasets.readers.npy import bad_array, open_array

_X, _LENGTHS = "x", "lengths"


class Arrays:
    """Rows of an array (N, ...); of series those before their lengths, where the file has these."""

    def __init__(self, array: npt.NDArray[Any], lengths: npt.NDArray[Any] | None = None) -> None:
        if not array.ndim or not array.size:
            raise DatasetError(Code.EMPTY_DATASET, "the array holds no rows")
        if array.ndim == 1 and array.dtype.kind != "U":
            message = f"it has shape {array.shape}: save one number a row as x[:, numpy.newaxis], one row as "
            raise bad_array(_X, f"{message}x[numpy.newaxis]")
        self._array, self._lengths = array, lengths
        self._step = max(1, min(MAX_BLOCK_ROWS, MAX_BLOCK_BYTES // max(1, array[:1].nbytes)))

    @property
    def rows(self) -> int:
        """The length of the first axis."""
        return len(self._array)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """None: arrays have no names."""
        return {}

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the rows from number `start` on."""
        for first in range(start, self.rows, self._step):
            rows = np.array(self._array[first : first + self._step])
            if self._lengths is not None:
                lengths = self._lengths[first : first + self._step]
                yield Block(first, [row[:length] for row, length in zip(rows, lengths, strict=True)])
            else:
                yield Block(first, rows.tolist() if rows.dtype.kind == "U" else rows)


def open_npy(path: Path, opening: Opening) -> Arrays:
    """Map one array. Raises DatasetError."""
    del opening
    return Arrays(open_array(path, _X))


def open_npz(path: Path, opening: Opening) -> Arrays:
    """Unpack the arrays into the scratch folder, and map that of the inputs; labels are not read."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    with open_archive(path, LIMITS) as (archive, members):
        for number, member in enumerate(members):
            arrays[member.filename.removesuffix(".npy")] = _unpacked(archive, member, opening, number)
    context = Context(opening.scratch, PrepareOptions(), LIMITS, opening.notes, lambda _, __: opening.tick())
    named = named_arrays(arrays, context)
    lengths = named.get(_LENGTHS)
    if lengths is not None and (lengths.shape != (len(named[_X]),) or lengths.dtype.kind not in "iu"):
        raise bad_array(_LENGTHS, "it holds whole numbers of steps, one for each row")
    return Arrays(named[_X], lengths)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, opening: Opening, number: int) -> npt.NDArray[Any]:
    name = member.filename.removesuffix(".npy")
    if name == member.filename:
        raise archive_error(Code.BAD_ARRAY, f"{name!r} in the .npz is no array; save it with numpy.savez", name)
    target = opening.scratch / f"member{number}.npy"
    with target.open("wb") as file:
        for chunk in read_chunks(archive, member, LIMITS.unpacked_bytes):
            opening.tick()
            file.write(chunk)
    return open_array(target, name)
