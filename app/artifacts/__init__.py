"""Artifacts: files by key, on local disk or in an S3-compatible bucket; most keys are the content's sha256."""

from app.artifacts.store import ArtifactStore, Blob, blob_key, fetch_blob, file_sha256, open_store, put_blob

__all__ = ["ArtifactStore", "Blob", "blob_key", "fetch_blob", "file_sha256", "open_store", "put_blob"]
