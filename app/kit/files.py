"""Durable files, and the free space of a file system."""

import os
import shutil
from pathlib import Path


def space(folder: Path) -> tuple[int, int]:
    """Return the free and the total bytes of a folder's file system; the folder need not exist yet."""
    usage = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    return usage.free, usage.total


def keep_private(folder: Path) -> None:
    """Create a folder that its owner alone may enter; one that exists and is ours becomes so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: a rename is only safe once this is done."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
