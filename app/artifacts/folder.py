"""Named files of content-addressed blobs, brought together in one folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.artifacts.store import ArtifactStore, fetch_blob


def link_files(store: ArtifactStore, files: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Link each file, `{name: {"sha256": ...}}`, into `folder` under its name; the bytes are verified on the way.

    The names are ours, never a user's. The files are not to be written to.

    Raises:
        CorruptError: the bytes of a file are gone, or are others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in files.items():
        source = fetch_blob(store, blob["sha256"])
        try:
            os.link(source, folder / name)
        except OSError:  # another file system, or one without hard links
            (folder / name).symlink_to(source.resolve())
    return folder
