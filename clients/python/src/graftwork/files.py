"""Files of rows as the bodies of requests: each is sent as it is, or in parts where it has more rows than one may have.

pyarrow and NumPy are imported for the parts of Parquet files and arrays alone; without pyarrow a file is sent whole.
"""

import importlib.util
import io
import json
from collections.abc import Iterator

MAX_FILE_ROWS = 4096  # in one request
CSV, TSV, LINES = "text/csv", "text/tab-separated-values", "application/x-ndjson"
PARQUET, NPY = "application/vnd.apache.parquet", "application/x-npy"
PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
CONTENT_TYPES = {
    ".csv": CSV,
    ".tsv": TSV,
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".parquet": PARQUET,
    ".npy": NPY,
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": WEBP,
}
PICTURES = frozenset([PNG, JPEG, WEBP])
_MAGIC = {b"PAR1": PARQUET, b"\x93NUMPY": NPY, b"\x89PNG": PNG, b"\xff\xd8\xff": JPEG, b"RIFF": WEBP}


def content_type_of(content: bytes) -> str:
    """Return the content type of a file's bytes: by the first ones, else JSON Lines or CSV.

    Raises:
        ValueError: they are no text and nothing else that is known.
    """
    known = next((content_type for magic, content_type in _MAGIC.items() if content.startswith(magic)), None)
    if known is not None:
        return known
    try:
        text = content.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        msg = "these bytes are no picture (PNG, JPEG, WEBP), Parquet, .npy, CSV or JSON Lines that can be sent"
        raise ValueError(msg) from None
    return LINES if text.startswith(("{", "[", '"')) and _is_json_lines(text) else CSV


def parts_of(content: bytes, content_type: str) -> Iterator[bytes]:
    """Yield a file in parts of at most 4,096 rows, each a file of its own."""
    if content_type in {CSV, TSV}:
        yield from _parts_of_csv(content)
    elif content_type == LINES:
        yield from _joined([line for line in content.splitlines(keepends=True) if line.strip()] or [content])
    elif content_type == PARQUET and importlib.util.find_spec("pyarrow") is not None:
        yield from _parts_of_parquet(content)
    elif content_type == NPY:
        yield from _parts_of_array(content)
    else:
        yield content


def _is_json_lines(text: str) -> bool:
    """Whether the first line is JSON rather than the quoted header of a CSV."""
    try:
        json.loads(text.splitlines()[0])
    except ValueError:
        return False
    return True


def _parts_of_csv(content: bytes) -> Iterator[bytes]:
    records = _records(content)
    header = records[:2] if records[0].lstrip(b"\xef\xbb\xbf").lower().startswith(b"sep=") else records[:1]
    rows = records[len(header) :]
    if len(rows) <= MAX_FILE_ROWS:
        yield content
        return
    yield from _joined(rows, b"".join(header))


def _records(content: bytes) -> list[bytes]:
    """Return the records of a CSV, with their ends of lines; a line break inside quotes belongs to its record."""
    records: list[bytes] = []
    open_record = b""
    for line in content.splitlines(keepends=True):
        open_record += line
        if open_record.count(b'"') % 2 == 0:
            records.append(open_record)
            open_record = b""
    return [record for record in [*records, open_record] if record.strip()] or [content]


def _joined(rows: list[bytes], header: bytes = b"") -> Iterator[bytes]:
    for start in range(0, len(rows), MAX_FILE_ROWS):
        yield header + b"".join(rows[start : start + MAX_FILE_ROWS])


def _parts_of_parquet(content: bytes) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - half a second, for such files alone
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        yield content  # the service says what is wrong with it
        return
    if file.metadata.num_rows <= MAX_FILE_ROWS:
        yield content
        return
    for batch in file.iter_batches(MAX_FILE_ROWS):
        buffer = io.BytesIO()
        parquet.write_table(pa.Table.from_batches([batch]), buffer)
        yield buffer.getvalue()


def _parts_of_array(content: bytes) -> Iterator[bytes]:
    import numpy as np  # noqa: PLC0415 - for such files alone

    try:
        buffer = io.BytesIO(content)
        array = np.load(buffer, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        array = None
    if array is None or array.ndim == 0 or len(array) <= MAX_FILE_ROWS:
        yield content  # the service says what is wrong with it
        return
    for start in range(0, len(array), MAX_FILE_ROWS):
        buffer = io.BytesIO()
        np.save(buffer, array[start : start + MAX_FILE_ROWS])
        yield buffer.getvalue()
