"""Sources on this machine: a file, or a folder of files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

from app.datasets.registered.listing import SourceFile, refused

_CHUNK = 1 << 20


class Folder:
    """A file or a folder on this machine; links are not followed."""

    def __init__(self, path: Path, allowed: Sequence[Path], data_folder: Path) -> None:
        self._path = path
        whole = path.resolve()
        if not any(whole.is_relative_to(prefix.resolve()) for prefix in allowed):
            msg = "a link leads out of what the operator allows"
            raise refused(msg)
        if whole.is_relative_to(data_folder) or data_folder.is_relative_to(whole):
            msg = "the service's own files are there"
            raise refused(msg)

    def files(self) -> Iterator[SourceFile]:
        """Yield the regular files; raises DatasetError for a link, which could lead anywhere."""
        if self._path.is_dir():
            for folder, folders, names in os.walk(self._path, onerror=_unreadable):
                for name in (*folders, *names):
                    if Path(folder, name).is_symlink():
                        msg = f"{Path(folder, name).relative_to(self._path)} is a link; put the file itself there"
                        raise refused(msg)
                for name in names:
                    path = Path(folder, name)
                    yield _described(path.stat(), path.relative_to(self._path).as_posix())
        elif self._path.is_file():
            yield _described(self._path.stat(), "")

    def copy(self, file: SourceFile, target: IO[bytes]) -> str:
        """Copy a file, and return its version before and after, which are one."""
        path = self._path / file.name if file.name else self._path
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
                before = _described(os.fstat(source.fileno()), file.name)
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                after = _described(os.fstat(source.fileno()), file.name)
        except OSError as error:
            _unreadable(error)
        return before.version if before == after else f"{before.version} {after.version}"


def _described(stat: os.stat_result, name: str) -> SourceFile:
    return SourceFile(name=name, bytes=stat.st_size, version=f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}")


def _unreadable(error: OSError) -> NoReturn:
    msg = f"it cannot be read: {error.strerror}"
    raise refused(msg) from error
