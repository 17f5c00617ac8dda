"""Artifacts in an S3-compatible bucket, with a cache on the local disk.

Credentials, region and endpoint come from the usual `AWS_...` variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.artifacts.local import copy_durably
from app.artifacts.store import Entry, link_file, trash_key
from app.errors import CorruptError, UnavailableError
from app.kit.ids import new_id

if TYPE_CHECKING:
    from obstore import GetResult

_MIN_PAUSE, _MAX_PAUSE = timedelta(milliseconds=100), timedelta(seconds=2)
_MAX_RETRIES = 1_000_000  # unlimited: `retry_timeout` ends the retries


def open_bucket(url: str, retry_seconds: float) -> S3Store:
    """Return the bucket, or the prefix of one, that `AWS_...` variables lead to; requests are retried for so long."""
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return S3Store.from_url(
        url,
        client_options={"allow_http": plain},
        retry_config={
            "max_retries": _MAX_RETRIES,
            "retry_timeout": timedelta(seconds=retry_seconds),
            "backoff": {"init_backoff": _MIN_PAUSE, "max_backoff": _MAX_PAUSE, "base": 2},
        },
    )


class S3Artifacts:
    """Stores artifacts as objects below one prefix; `fetch` caches downloads. Retries requests for `retry_seconds`."""

    def __init__(self, url: str, cache: Path, retry_seconds: float) -> None:
        self.store = open_bucket(url, retry_seconds)
        self.cache = cache

    def put(self, key: str, source: Path, *, cached: bool = True) -> None:
        """See `ArtifactStore.put`; an object becomes visible only once its upload is complete, and its size is checked.

        Raises:
            UnavailableError: the bucket does not answer.
        """
        with _answering(), source.open("rb") as file:
            self.store.put(key, file)
            kept, sent = self.store.head(key)["size"], source.stat().st_size
        if kept != sent:
            msg = f"The bucket has {kept} of the {sent} bytes of {key}; send it again."
            raise UnavailableError(msg, code="storage_unavailable")
        if cached:
            copy_durably(source, self.cache / key)

    def fetch(self, key: str, *, anew: bool = False) -> Path:
        """See `ArtifactStore.fetch`.

        Raises:
            UnavailableError: the bucket does not answer.
        """
        path = self.cache / key
        if anew or not path.is_file():
            self._download(key, path)
        return path

    def export(self, key: str, target: Path, *, anew: bool = False) -> None:
        """See `ArtifactStore.export`; a copy that is cached already is linked.

        Raises:
            UnavailableError: the bucket does not answer.
        """
        path = self.cache / key
        if path.is_file() and not anew:
            link_file(path, target)
        else:
            self._write(key, target)

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        with _answering():
            self.store.delete(key)
        (self.cache / key).unlink(missing_ok=True)

    def move(self, key: str, to: str) -> None:
        """See `ArtifactStore.move`; not atomic: for a moment both keys exist."""
        with _answering():
            try:
                self.store.copy(key, to)
            except FileNotFoundError:
                return
            self.store.delete(key)

    def entries(self) -> Iterator[Entry]:
        """See `ArtifactStore.entries`."""
        with _answering():
            for page in self.store.list():
                for item in page:
                    yield Entry(item["path"], item["size"], item["last_modified"].timestamp())

    def _download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.parent / new_id(".new")
        try:
            self._write(key, scratch)
            copy_durably(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)

    def _write(self, key: str, target: Path) -> None:
        with _answering(), target.open("wb") as file:
            for chunk in self._get(key).stream():
                file.write(chunk)

    def _get(self, key: str) -> "GetResult":
        try:
            return self.store.get(key)
        except FileNotFoundError:
            self.move(trash_key(key), key)
        try:
            return self.store.get(key)
        except FileNotFoundError as error:
            msg = f"The artifact {key} is missing; restore it from a backup."
            raise CorruptError(msg) from error


@contextmanager
def _answering() -> Iterator[None]:
    """Raise UnavailableError if the bucket's client gives up."""
    try:
        yield
    except BaseError as error:
        msg = "The bucket does not answer; nothing was changed. Try again."
        raise UnavailableError(msg, code="storage_unavailable") from error
