"""The interface of an artifact store, and content addressing on top of it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from app.errors import CorruptError

TRASH = "trash/"  # prefix of keys that garbage collection keeps for a grace period


@dataclass(frozen=True, slots=True)
class Entry:
    """A key, the size of its file, and the time of the last put or move to it."""

    key: str
    bytes: int
    changed_at: float


class ArtifactStore(Protocol):
    """Stores files by key. A key becomes visible once all of its bytes are durable."""

    def put(self, key: str, source: Path, *, cached: bool = True) -> None:
        """Store the bytes of `source` under `key` and date it now; the caller still owns `source`.

        `cached` keeps a copy on this machine, too, where the store is another one.
        """

    def fetch(self, key: str, *, anew: bool = False) -> Path:
        """Return a local, read-only file with the bytes of `key`; a file in the trash is restored.

        `anew` ignores a cached copy.

        Raises:
            CorruptError: there is no such key.
        """

    def export(self, key: str, target: Path, *, anew: bool = False) -> None:
        """Make `target`, in an existing folder, a file with the bytes of `key`, as `fetch` would; nothing is cached.

        Raises:
            CorruptError: there is no such key.
        """

    def delete(self, key: str) -> None:
        """Delete `key` if it exists."""

    def move(self, key: str, to: str) -> None:
        """Give a file another key and date it now; do nothing if there is no such file."""

    def entries(self) -> Iterator[Entry]:
        """Yield every key, needed or not: only the database knows that."""


class Blob(BaseModel):
    """A file, identified by its content."""

    sha256: str
    bytes: int


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blob_key(sha256: str) -> str:
    """Return the key of the blob with this digest."""
    return f"blobs/{sha256[:2]}/{sha256}"


def trash_key(key: str) -> str:
    """Return the key of a file while garbage collection keeps it in the trash."""
    return TRASH + key


def put_blob(store: ArtifactStore, source: Path, sha256: str | None = None, *, cached: bool = True) -> Blob:
    """Store a file under its digest, so that equal contents are stored once; `cached`: see `ArtifactStore.put`."""
    digest = sha256 or file_sha256(source)
    store.put(blob_key(digest), source, cached=cached)
    return Blob(sha256=digest, bytes=source.stat().st_size)


def fetch_blob(store: ArtifactStore, sha256: str) -> Path:
    """Return a local file with exactly the bytes of this digest.

    Raises:
        CorruptError: the bytes are missing or damaged.
    """
    return fetch_intact(store, blob_key(sha256), sha256)


def fetch_intact(store: ArtifactStore, key: str, sha256: str) -> Path:
    """Return a local file with exactly the bytes of this digest; a damaged cached copy is fetched again.

    Raises:
        CorruptError: the bytes are missing or damaged.
    """
    for anew in (False, True):
        path = store.fetch(key, anew=anew)
        if file_sha256(path) == sha256:
            return path
    raise _damaged(sha256)


def _damaged(sha256: str) -> CorruptError:
    return CorruptError(f"The stored bytes of {sha256[:12]} are damaged; restore them from a backup.")


def export_blob(store: ArtifactStore, sha256: str, target: Path) -> None:
    """Make `target`, in an existing folder, a file with exactly the bytes of this digest; it must not be written to.

    Raises:
        CorruptError: the bytes are missing or damaged.
    """
    for anew in (False, True):
        store.export(blob_key(sha256), target, anew=anew)
        if file_sha256(target) == sha256:
            return
        target.unlink()
    raise _damaged(sha256)


def link_files(store: ArtifactStore, files: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Verify each file of `{name: {"sha256": ...}}` and link it into `folder` under its name; return the folder.

    Names must come from this service, never from a user. The files must not be written to.

    Raises:
        CorruptError: the bytes of a file are missing or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in files.items():
        link_file(fetch_blob(store, blob["sha256"]), folder / name)
    return folder


def link_file(source: Path, target: Path) -> None:
    """Link a file, by its name where the file system has no hard links between the two."""
    try:
        os.link(source, target)
    except OSError:  # across file systems, or without hard links
        target.symlink_to(source.resolve())
