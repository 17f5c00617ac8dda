"""Texts in bounded memory: UTF-8 bytes of all rows in one mapped array, and where each row begins."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Texts:
    """N texts: text i is content[offsets[i]:offsets[i + 1]], UTF-8; content uint8 (total,), offsets int64 (N + 1,)."""

    content: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, chosen: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the texts at `chosen` (a slice, numbers or a mask), an object array (n,) of str."""
        places = np.arange(len(self))[chosen]
        found = np.empty(len(places), dtype=object)
        for index, place in enumerate(places):
            found[index] = self.raw(int(place)).decode()
        return found

    def __iter__(self) -> Iterator[str]:
        return (self.raw(place).decode() for place in range(len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, characters of the longest)."""
        return len(self), int(self.lengths().max(initial=0))

    def raw(self, place: int) -> bytes:
        """Return one text as bytes."""
        return self.content[self.offsets[place] : self.offsets[place + 1]].tobytes()

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the characters of each text, (N,)."""
        return np.fromiter(map(len, self), dtype=np.int64, count=len(self))

    def digests(self) -> Digests:
        """Return the first 128 bits of the SHA-256 of each text's bytes, (N, 2)."""
        found = b"".join(hashlib.sha256(self.raw(place)).digest()[:16] for place in range(len(self)))
        return np.frombuffer(found, dtype=">u8").astype(np.uint64).reshape(-1, 2)


class TextWriter:
    """Writes texts one by one into `folder`/text.npy and keeps their ends; `close` it in any case."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "text.npy"
        self._file = self._path.open("wb")
        self._offsets = array("q", [0])
        self._header()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._offsets[-1]

    def add(self, text: str) -> None:
        """Append one text; it holds no half of a surrogate pair."""
        self.add_raw(text.encode())

    def add_raw(self, raw: bytes) -> None:
        """Append one text that is UTF-8 already."""
        self._file.write(raw)
        self._offsets.append(self._offsets[-1] + len(raw))

    def finish(self) -> Texts:
        """Close the file and return what was written, mapped."""
        self._file.seek(0)
        self._header()
        self._file.close()
        if not self.size:  # an empty file cannot be mapped
            return Texts(np.empty(0, dtype=np.uint8), np.array(self._offsets, dtype=np.int64))
        content = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return Texts(content, np.array(self._offsets, dtype=np.int64))

    def _header(self) -> None:
        """Write the header; numpy leaves room in it for the length to grow."""
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._offsets[-1],)}
        np.lib.format.write_array_header_1_0(self._file, header)


def write_texts(texts: Iterable[str], folder: Path) -> Texts:
    """Write `texts` into `folder`/text.npy and return them, mapped."""
    with closing(TextWriter(folder)) as writer:
        for text in texts:
            writer.add(text)
        return writer.finish()
