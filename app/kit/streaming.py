"""Receives bodies as streams: a file is hashed and written to disk as it arrives, never held in memory.

Its size is limited. The file is temporary: it is deleted when the `receive_file` block ends, so callers copy its bytes
elsewhere before.
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from app.errors import BadRequestError, GraftworkError, TooLargeError, UnsupportedMediaError
from app.kit.ids import new_id

SMALL_BYTES = 64 << 10
WRITE_BYTES = 1 << 20  # that are worth a write


@dataclass(frozen=True)
class ReceivedFile:
    """A received file on disk, with digest and size."""

    path: Path
    sha256: str
    bytes: int


def media_type(request: Request) -> str:
    """Return the media type of the body without its parameters, in lower case; empty where none is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_compressed(request: Request) -> None:
    """Check the Content-Encoding.

    Raises:
        UnsupportedMediaError: the body is compressed.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        msg = "Send the body as it is, without Content-Encoding."
        raise UnsupportedMediaError(msg)


def too_large(limit: int) -> TooLargeError:
    """Return the error for a body over `limit` bytes."""
    return TooLargeError(f"The body is larger than the {limit} bytes that this service takes.")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bytes a body may have, and the error for a longer one."""

    bytes: int
    error: Callable[[int], GraftworkError] = too_large


def refuse_too_long(request: Request, limit: int, error: Callable[[int], GraftworkError] = too_large) -> None:
    """Check the Content-Length before the body is read; it may be missing.

    Raises:
        GraftworkError: `error`, where it is above `limit` bytes.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise error(limit)


def display_name(text: str) -> str:
    """Return a filename to display: at most 255 characters, none that control or reorder text."""
    kept = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    return kept.strip()[:255] or "unnamed"


@asynccontextmanager
async def receive_file(request: Request, folder: Path, limit: Limit) -> AsyncIterator[ReceivedFile]:
    """Receive a body that is a file; it exists in `folder` until the block ends.

    Raises:
        UnsupportedMediaError: the body is compressed, or is no application/octet-stream.
        GraftworkError: that of the limit; the body is announced as longer, or proves to be.
        BadRequestError: the body ends early, or does not match its Content-Digest.
    """
    if media_type(request) not in ("", "application/octet-stream"):
        msg = "Send the bytes as they are, as application/octet-stream."
        raise UnsupportedMediaError(msg)
    digest = announced_digest(request)
    async with temporary_file(folder) as path:
        sha256, size, buffer = hashlib.sha256(), 0, bytearray()
        with path.open("wb") as file:

            def write() -> None:
                sha256.update(buffer)
                file.write(buffer)
                buffer.clear()

            async for chunk in chunks_of(request, limit):
                size += len(chunk)
                buffer += chunk
                if len(buffer) >= WRITE_BYTES:
                    await run_in_threadpool(write)
            await run_in_threadpool(write)
        refuse_other_digest(digest, sha256.digest())
        yield ReceivedFile(path, sha256.hexdigest(), size)


async def receive_small(request: Request) -> bytes:
    """Return a body of at most `SMALL_BYTES`.

    Raises:
        UnsupportedMediaError: the body is compressed.
        TooLargeError: the body is longer.
        BadRequestError: the client has hung up.
    """
    return b"".join([chunk async for chunk in chunks_of(request, Limit(SMALL_BYTES))])


async def chunks_of(request: Request, limit: Limit) -> AsyncIterator[bytes]:
    """Yield a body as it arrives.

    Raises:
        UnsupportedMediaError: it is compressed.
        GraftworkError: that of the limit; it is announced as longer, or proves to be.
        BadRequestError: it ends early.
    """
    refuse_compressed(request)
    refuse_too_long(request, limit.bytes, limit.error)
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit.bytes:
                raise limit.error(limit.bytes)
            yield chunk
    except ClientDisconnect:
        msg = "The connection ended before the body did."
        raise BadRequestError(msg, code="aborted") from None


@asynccontextmanager
async def temporary_file(folder: Path) -> AsyncIterator[Path]:
    """Give the path of a file of its own in `folder`, which is deleted when the block ends."""
    await run_in_threadpool(folder.mkdir, parents=True, exist_ok=True)
    path = folder / new_id("upload")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)  # not in a thread: a cancelled request would not wait for it


def announced_digest(request: Request) -> bytes | None:
    """Return the sha-256 in the Content-Digest (RFC 9530), or None without one; other algorithms are ignored."""
    match = re.search(r"(?:^|,)\s*sha-256=:([^:]*):", request.headers.get("content-digest", ""))
    try:
        return base64.b64decode(match[1], validate=True) if match else None
    except binascii.Error:
        msg = "The Content-Digest is no base64."
        raise BadRequestError(msg, code="digest_mismatch") from None


def refuse_other_digest(announced: bytes | None, digest: bytes) -> None:
    """Refuse a body whose SHA-256 is not the announced one, if any was. Raises BadRequestError."""
    if announced is not None and digest != announced:
        msg = "The body's sha-256 is not the one of its Content-Digest; send it again."
        raise BadRequestError(msg, code="digest_mismatch")
