"""What lies in the artifact store and in this machine's data folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from app.artifacts import ArtifactStore
from app.settings import Settings

Place = Literal["store", "cache", "tmp", "scratch"]


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a folder of `tmp`; `name` is its key in the store, or its path in the data folder."""

    place: Place
    name: str
    bytes: int
    changed_at: float


def inventory(store: ArtifactStore, settings: Settings) -> Iterator[Found]:
    """Everything but the database: the store, copies of a bucket's files, and what was begun and not ended."""
    for entry in store.entries():
        yield Found("store", entry.key, entry.bytes, entry.changed_at)
    data = settings.data_folder
    for path in _files(data / "artifacts"):
        if _is_scratch(path):
            yield from _found(data, path, "scratch")
    for path in _files(data / "cache"):
        if _is_scratch(path) or settings.feature_cache not in path.parents:
            yield from _found(data, path, "scratch" if _is_scratch(path) else "cache")
    if (data / "tmp").is_dir():
        for path in sorted((data / "tmp").iterdir()):
            yield from _found(data, path, "tmp")


def _is_scratch(path: Path) -> bool:
    """Files are written under a name with a dot, and renamed once they are whole."""
    return path.name.startswith(".")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _found(data: Path, path: Path, place: Place) -> Iterator[Found]:
    """Measure it; a folder is as young as the youngest thing in it. What is gone meanwhile is left out."""
    try:
        stats = [one.lstat() for one in (path, *path.rglob("*"))]
    except FileNotFoundError:
        return
    size = sum(stat.st_size for stat in stats if not S_ISDIR(stat.st_mode))
    yield Found(place, str(path.relative_to(data)), size, max(stat.st_mtime for stat in stats))
