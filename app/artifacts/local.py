"""Artifacts on the local disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.artifacts.store import Entry, link_file, trash_key
from app.errors import CorruptError
from app.kit.files import sync_folder
from app.kit.ids import new_id


def copy_durably(source: Path, target: Path) -> None:
    """Copy `source` to `target` atomically: afterwards `target` is complete and on disk, or does not exist.

    Hard-links the file if the file system can, so neither may be written to afterwards.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.parent / new_id(".new")
    try:
        try:
            scratch.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, scratch)
        os.utime(scratch)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    sync_folder(target.parent)


class LocalArtifacts:
    """Stores artifacts as files below one folder; `fetch` returns the stored file itself."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, source: Path, *, cached: bool = True) -> None:
        """See `ArtifactStore.put`."""
        copy_durably(source, self.root / key)

    def fetch(self, key: str, *, anew: bool = False) -> Path:
        """See `ArtifactStore.fetch`."""
        path = self.root / key
        if not path.is_file():
            self.move(trash_key(key), key)
        if not path.is_file():
            msg = f"The artifact {key} is missing; restore it from a backup."
            raise CorruptError(msg)
        return path

    def export(self, key: str, target: Path, *, anew: bool = False) -> None:
        """See `ArtifactStore.export`; the stored file is linked."""
        link_file(self.fetch(key, anew=anew), target)

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        (self.root / key).unlink(missing_ok=True)

    def move(self, key: str, to: str) -> None:
        """See `ArtifactStore.move`."""
        source, target = self.root / key, self.root / to
        with suppress(FileNotFoundError):
            os.utime(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            sync_folder(target.parent)

    def entries(self) -> Iterator[Entry]:
        """See `ArtifactStore.entries`; files whose names begin with a dot are unfinished and left out."""
        for path in sorted(self.root.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.name.startswith("."):
                    stat = path.stat()
                    yield Entry(path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime)
