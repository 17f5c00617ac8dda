"""What is uploaded, as a form or in parts."""

import base64
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

Source: TypeAlias = str | Path | bytes | Mapping[str, Any] | Any
"""A path, the bytes of a file, arrays by name, or a frame of pandas, polars or Arrow."""

PART_BYTES = 64 << 20
"""Bytes of a part, which are in memory at a time."""
LARGE_BYTES = 2 * PART_BYTES
"""A dataset's file of more bytes is sent in parts."""


def is_in_place(source: Source) -> bool:
    """Whether a source stays where it is, in a bucket or on the server."""
    return isinstance(source, str) and source.startswith(("s3://", "file://"))


def form_fields(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a form: text as it is, any other value as JSON, None left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in options.items()
        if value is not None
    }


@contextmanager
def open_source(source: Source, filename: str | None) -> Iterator[tuple[IO[bytes] | bytes, str]]:
    """Yield the file to upload and its filename."""
    if isinstance(source, bytes):
        yield source, filename or "upload"
    elif isinstance(source, Mapping):
        import numpy as np  # noqa: PLC0415 - only where arrays are sent

        with tempfile.TemporaryFile() as file:
            np.savez(file, **source)
            file.seek(0)
            yield file, filename or "arrays.npz"
    elif isinstance(source, str | Path):
        path = Path(source)
        with path.open("rb") as file:
            yield file, filename or path.name
    else:
        with tempfile.TemporaryFile() as file:
            suffix = _write(source, file)
            file.seek(0)
            yield file, filename or f"upload{suffix}"


@contextmanager
def open_file(source: Source, filename: str | None) -> Iterator[tuple[IO[bytes], str]]:
    """Yield the file to upload, open for reading, and its filename; a file that is open already stays the caller's."""
    if hasattr(source, "seek"):
        yield cast("IO[bytes]", source), filename or "upload"
        return
    with open_source(source, filename) as (file, name):
        yield io.BytesIO(file) if isinstance(file, bytes) else file, name


def is_large(file: IO[bytes] | bytes) -> bool:
    """Whether a file is sent in parts."""
    if isinstance(file, bytes):
        return len(file) > LARGE_BYTES
    place, size = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(place)
    return size > LARGE_BYTES


def digest_of(file: IO[bytes]) -> tuple[str, int]:
    """Return the SHA-256 of a file in hexadecimal and its bytes; it stands at its begin afterwards."""
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return sha256, size


def pieces(file: IO[bytes], part_bytes: int) -> Iterator[tuple[bytes, str]]:
    """Yield the bytes of a file in pieces of `part_bytes`, the last may be smaller, with their SHA-256."""
    while content := file.read(part_bytes):
        yield content, hashlib.sha256(content).hexdigest()


def content_digest(content: bytes) -> str:
    """Return the Content-Digest of a body (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def _write(source: Any, file: IO[bytes]) -> str:
    """Write a frame or an array as a file, and return the suffix of its form.

    Raises:
        TypeError: it is neither.
    """
    if hasattr(source, "to_parquet"):  # pandas, whose index is no column
        source.to_parquet(file, index=False)
        return ".parquet"
    if hasattr(source, "write_parquet"):  # polars
        source.write_parquet(file)
        return ".parquet"
    if hasattr(source, "to_batches"):  # Arrow
        from pyarrow import parquet  # noqa: PLC0415 - it is there, since it made the table

        parquet.write_table(source, file)
        return ".parquet"
    if hasattr(source, "dtype") and hasattr(source, "tolist"):
        import numpy as np  # noqa: PLC0415 - only where arrays are sent

        np.save(file, np.asarray(source), allow_pickle=False)
        return ".npy"
    if hasattr(source, "read"):
        file.write(source.read())
        return ""
    msg = f"a {type(source).__name__} cannot be uploaded: give a path, bytes, arrays by name, or a frame"
    raise TypeError(msg)
