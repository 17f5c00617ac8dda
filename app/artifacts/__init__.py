"""Artifacts: files by key, on local disk or in an S3-compatible bucket; most keys are the content's sha256."""

from app.artifacts.local import LocalArtifacts
from app.artifacts.store import (
    TRASH,
    ArtifactStore,
    Blob,
    Entry,
    blob_key,
    export_blob,
    fetch_blob,
    fetch_intact,
    file_sha256,
    link_files,
    put_blob,
    trash_key,
)
from app.settings import Settings

__all__ = [
    "TRASH",
    "ArtifactStore",
    "Blob",
    "Entry",
    "blob_key",
    "export_blob",
    "fetch_blob",
    "fetch_intact",
    "file_sha256",
    "link_files",
    "open_store",
    "put_blob",
    "trash_key",
]


def open_store(settings: Settings) -> ArtifactStore:
    """Return the store that the settings name."""
    if not settings.artifacts_url:
        return LocalArtifacts(settings.data_folder / "artifacts")
    from app.artifacts.s3 import S3Artifacts  # noqa: PLC0415 - the bucket's client is loaded only where it is used

    return S3Artifacts(settings.artifacts_url, settings.data_folder / "cache", settings.artifacts_patience_seconds)
