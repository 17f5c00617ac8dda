"""Texts in bounded memory: the UTF-8 bytes of all rows in one memory-mapped array, and the offset of each row."""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Texts:
    """N texts: text i is content[offsets[i]:offsets[i + 1]], UTF-8; content uint8 (total,), offsets int64 (N + 1,)."""

    content: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, chosen: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the texts at `chosen` (a slice, positions or a mask), an object array (n,) of str."""
        positions = np.arange(len(self))[chosen]
        texts = np.empty(len(positions), dtype=object)
        for i, position in enumerate(positions):
            texts[i] = self.raw(int(position)).decode()
        return texts

    def __iter__(self) -> Iterator[str]:
        return (self.raw(position).decode() for position in range(len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (N, characters of the longest text)."""
        return len(self), int(self.lengths().max(initial=0))

    def raw(self, position: int) -> bytes:
        """Return one text as UTF-8 bytes."""
        return self.content[self.offsets[position] : self.offsets[position + 1]].tobytes()

    def parts(self, size: int) -> Iterator["Texts"]:
        """Yield copies of the texts in order, in parts of `size` bytes, more where a text is longer."""
        starts = np.searchsorted(self.offsets, np.arange(0, len(self.content), size))
        for start, end in pairwise(np.unique([0, *starts, len(self)]).tolist()):
            first, last = self.offsets[start], self.offsets[end]
            yield Texts(np.array(self.content[first:last]), self.offsets[start : end + 1] - first)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of characters of each text, (N,)."""
        return np.fromiter(map(len, self), dtype=np.int64, count=len(self))


class TextWriter:
    """Writes texts one by one into `folder`/text.npy and keeps their offsets; the caller closes it in any case."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "text.npy"
        self._file = self._path.open("wb")
        self._offsets = array("q", [0])
        self._write_header()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._offsets[-1]

    def add(self, text: str) -> None:
        """Append one text, which holds no lone surrogates."""
        self.add_raw(text.encode())

    def add_raw(self, raw: bytes) -> None:
        """Append one text that is encoded as UTF-8 already."""
        self._file.write(raw)
        self._offsets.append(self._offsets[-1] + len(raw))

    def finish(self) -> Texts:
        """Close the file and return the texts, memory-mapped."""
        self._file.seek(0)
        self._write_header()
        self._file.close()
        if not self.size:  # an empty file cannot be mapped
            return Texts(np.empty(0, dtype=np.uint8), np.array(self._offsets, dtype=np.int64))
        content = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return Texts(content, np.array(self._offsets, dtype=np.int64))

    def _write_header(self) -> None:
        """Write the header of the .npy file; numpy pads it, so that the final one is as long as the first."""
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._offsets[-1],)}
        np.lib.format.write_array_header_1_0(self._file, header)


def write_texts(texts: Iterable[str], folder: Path) -> Texts:
    """Write `texts` into `folder`/text.npy and return them, memory-mapped."""
    with closing(TextWriter(folder)) as writer:
        for text in texts:
            writer.add(text)
        return writer.finish()
