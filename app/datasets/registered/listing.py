"""What is stored of a source that is registered in place, and how it is refused."""

from collections.abc import Collection, Iterator
from typing import IO, Protocol

from app.datasets.errors import Code, DatasetError, RowError
from app.ml.spec import Frozen

_SHOWN = 5  # names that a message has at most


class SourceFile(Frozen):
    """A file of a source: its name below it, empty where it is the source itself, and which version of it is meant."""

    name: str
    bytes: int
    version: str


class Listing(Frozen):
    """The files of a source as they were when it was registered, by name."""

    url: str
    files: tuple[SourceFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        return self.url.rstrip("/").rpartition("/")[2]


class Place(Protocol):
    """Where the files of a source are."""

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; raises DatasetError where they cannot be read."""
        ...

    def copy(self, file: SourceFile, target: IO[bytes]) -> str:
        """Write the bytes of a file, and return the version that they are."""
        ...


def changed(names: Collection[str]) -> DatasetError:
    """Return the error that says which files have changed."""
    shown = ", ".join(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    message = f"{len(names)} files of the source have changed since it was registered: {shown}; register it anew, "
    message += "or as a version of this dataset with `source`"
    return DatasetError(Code.SOURCE_CHANGED, message, [RowError(("source",), message)])


def refused(msg: str, code: Code = Code.SOURCE_REFUSED) -> DatasetError:
    """Return the error that says why a source is not taken."""
    return DatasetError(code, f"source: {msg}", [RowError(("source",), msg)])
