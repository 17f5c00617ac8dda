"""Artifacts in an S3-compatible bucket, with a cache on the local disk.

Credentials, region and endpoint come from the usual `AWS_...` variables.
"""

import os
from pathlib import Path

from obstore.store import S3Store

from app.artifacts.local import place
from app.errors import CorruptError
from app.kit.ids import new_id


class S3Artifacts:
    """Objects below one prefix; `fetch` downloads once."""

    def __init__(self, url: str, cache: Path) -> None:
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        self.store = S3Store.from_url(url, client_options={"allow_http": plain})
        self.cache = cache

    def put(self, key: str, source: Path) -> None:
        """See `ArtifactStore.put`; an object becomes visible only once its upload is complete."""
        with source.open("rb") as file:
            self.store.put(key, file)
        place(source, self.cache / key)

    def fetch(self, key: str) -> Path:
        """See `ArtifactStore.fetch`."""
        path = self.cache / key
        if not path.is_file():
            self._download(key, path)
        return path

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        self.store.delete(key)
        (self.cache / key).unlink(missing_ok=True)

    def _download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.parent / new_id(".new")
        try:
            with scratch.open("wb") as file:
                for chunk in self.store.get(key).stream():
                    file.write(chunk)
            place(scratch, path)
        except FileNotFoundError as error:
            msg = f"The artifact {key} is missing; restore it from a backup."
            raise CorruptError(msg) from error
        finally:
            scratch.unlink(missing_ok=True)
