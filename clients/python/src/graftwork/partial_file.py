"""A file that has come in part: what is asked for next, and whether it is whole (RFC 9110, section 14)."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import httpx


class PartialFile:
    """The first bytes of a download on disk, their digest, and the ETag of the whole file, which is its SHA-256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin("")

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for the rest, or for the whole if the service has another file by now."""
        headers = {"Accept-Encoding": "identity"}  # ranges count the bytes of the file, not those of a compression
        if self.size and self._tag:
            headers |= {"Range": f"bytes={self.size}-", "If-Range": self._tag}
        return headers

    def open(self, response: httpx.Response) -> BinaryIO:
        """Open the file for the body of a response: to go on where it is the rest, else to begin again."""
        is_rest = response.headers.get("content-range", "").startswith(f"bytes {self.size}-")
        if response.status_code == httpx.codes.PARTIAL_CONTENT and is_rest:
            return self.path.open("ab")
        self._begin(response.headers.get("etag", ""))
        return self.path.open("wb")

    def add(self, chunk: bytes) -> None:
        """Count bytes that were written."""
        self.size += len(chunk)
        self._digest.update(chunk)

    def is_whole(self) -> bool:
        """Whether the bytes have the digest that the service announced."""
        return self._tag == f'"{self._digest.hexdigest()}"'

    def _begin(self, tag: str) -> None:
        self.size, self._tag, self._digest = 0, tag, hashlib.sha256()
