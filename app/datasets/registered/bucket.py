"""Sources in a bucket, which are read with the service's own credentials (`AWS_...`)."""

from collections.abc import Iterator
from typing import IO

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from app.artifacts.s3 import open_bucket
from app.datasets.errors import DatasetError
from app.datasets.registered.listing import SourceFile, refused
from app.errors import UnavailableError


class Bucket:
    """An object, or all objects below a prefix. Versions are ETags."""

    def __init__(self, bucket: str, path: str, retry_seconds: float) -> None:
        self._store, self._path = open_bucket(f"s3://{bucket}", retry_seconds), path

    def files(self) -> Iterator[SourceFile]:
        """Yield the objects.

        Raises:
            DatasetError: the service may not read them, or there is no such bucket.
            UnavailableError: the bucket does not answer.
        """
        try:
            head = self._store.head(self._path) if self._path else None
        except FileNotFoundError:
            head = None
        except BaseError as error:
            raise _failed(error) from error
        if head is not None:
            yield SourceFile(name="", bytes=head["size"], version=str(head["e_tag"]))
            return
        try:
            for page in self._store.list(self._path or None):
                for item in page:
                    name = item["path"].removeprefix(self._path).lstrip("/")
                    if name and not item["path"].endswith("/"):
                        yield SourceFile(name=name, bytes=item["size"], version=str(item["e_tag"]))
        except FileNotFoundError:
            return
        except BaseError as error:
            raise _failed(error) from error

    def copy(self, file: SourceFile, target: IO[bytes]) -> str:
        """Write the bytes of an object, and return the ETag that came with them."""
        try:
            result = self._store.get(f"{self._path}/{file.name}".strip("/") if file.name else self._path)
            for chunk in result.stream():
                target.write(chunk)
        except FileNotFoundError:
            return ""
        except BaseError as error:
            raise _failed(error) from error
        return str(result.meta["e_tag"])


def _failed(error: BaseError) -> DatasetError | UnavailableError:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        msg = "the bucket does not let the service read it: give its AWS_... credentials the right to list and to get"
        return refused(msg)
    return UnavailableError("The bucket does not answer; nothing was changed. Try again.", code="storage_unavailable")
