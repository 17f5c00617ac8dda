"""Lists the files of the artifact store and of this machine's data folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from app.artifacts import ArtifactStore
from app.settings import Settings

Place = Literal["store", "cache", "tmp", "scratch"]
Area = Literal["all", "store", "machine"]


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a folder of `tmp`; `name` is its key in the store, or its path in the data folder."""

    place: Place
    name: str
    bytes: int
    changed_at: float


def inventory(store: ArtifactStore, settings: Settings, area: Area = "all") -> Iterator[File]:
    """Yield every file but the database: the store's, copies of a bucket's, and files that are not finished."""
    if area != "machine":
        for entry in store.entries():
            yield File("store", entry.key, entry.bytes, entry.changed_at)
    if area != "store":
        yield from _of_machine(settings)


def _of_machine(settings: Settings) -> Iterator[File]:
    """Yield the files of this machine's data folder that are no artifacts."""
    data = settings.data_folder
    for path in _files(data / "artifacts"):
        if _is_scratch(path):
            yield from _measured(data, path, "scratch")
    for path in _files(data / "cache"):
        if _is_scratch(path) or settings.feature_cache not in path.parents:
            yield from _measured(data, path, "scratch" if _is_scratch(path) else "cache")
    if (data / "tmp").is_dir():
        for path in sorted((data / "tmp").iterdir()):
            yield from _measured(data, path, "tmp")


def _is_scratch(path: Path) -> bool:
    """Whether a file is unfinished: files are written under a name with a dot, and renamed once they are whole."""
    return path.name.startswith(".")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _measured(data: Path, path: Path, place: Place) -> Iterator[File]:
    """Yield a file or folder with its size and the time of its last change; nothing where it was removed meanwhile."""
    try:
        stats = [entry.lstat() for entry in (path, *path.rglob("*"))]
    except FileNotFoundError:
        return
    size = sum(stat.st_size for stat in stats if not S_ISDIR(stat.st_mode))
    yield File(place, str(path.relative_to(data)), size, max(stat.st_mtime for stat in stats))
