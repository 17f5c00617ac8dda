"""Files on their way: what is uploaded as a form, and what is downloaded, whole or not at all."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import httpx

from app.client.errors import DamagedError
from app.client.transport import Transport

Source: TypeAlias = str | Path | bytes | Mapping[str, Any]
UPLOAD_TIMEOUT = httpx.Timeout(600, connect=10)


def form_field(value: Any) -> str:
    """Return text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


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
    else:
        path = Path(source)
        with path.open("rb") as file:
            yield file, filename or path.name


def download(transport: Transport, path: str, target: Path) -> Path:
    """Write a file of the service to `target`.

    Raises:
        DamagedError: the bytes do not match their announced digest; no file is left then.
    """
    scratch = target.with_name(f".{target.name}.part")
    try:
        _receive(transport, path, scratch)
        return scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _receive(transport: Transport, path: str, target: Path) -> None:
    digest = hashlib.sha256()
    with transport.stream(path) as response, target.open("wb") as file:
        for chunk in response.iter_bytes():
            digest.update(chunk)
            file.write(chunk)
    if response.headers.get("etag") != f'"{digest.hexdigest()}"':
        msg = f"{path} came damaged; download it again."
        raise DamagedError(msg)
