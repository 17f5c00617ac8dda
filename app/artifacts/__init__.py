"""Artifacts: files by key, on local disk or in an S3-compatible bucket; most keys are the content's sha256."""

from app.artifacts.store import (
    TRASH,
    ArtifactStore,
    Blob,
    Entry,
    blob_key,
    fetch_blob,
    fetch_intact,
    file_sha256,
    open_store,
    put_blob,
    trash_key,
)

__all__ = [
    "TRASH",
    "ArtifactStore",
    "Blob",
    "Entry",
    "blob_key",
    "fetch_blob",
    "fetch_intact",
    "file_sha256",
    "open_store",
    "put_blob",
    "trash_key",
]
