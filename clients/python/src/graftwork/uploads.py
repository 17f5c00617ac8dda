"""What is uploaded as a form."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

Source: TypeAlias = str | Path | bytes | Mapping[str, Any] | Any
"""A path, the bytes of a file, arrays by name, or a frame of pandas, polars or Arrow."""


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
