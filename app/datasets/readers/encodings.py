"""Text files in other encodings than UTF-8 become UTF-8 once, before anything else reads them.

UTF-16 is known by its byte order mark. Nothing tells the old encodings of one byte from each other ("Müller" in one is
valid in all of them), so they are never guessed: the user names them.
"""

import codecs
from pathlib import Path

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError

UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
CHUNK_CHARS = 1 << 20
MAX_LINE = 16 << 20
MAX_SHOWN = 60
HEAD_BYTES = 4096


def as_utf8(path: Path, context: Context) -> Path:
    """Return the path of the file as UTF-8: a copy where `options.encoding` or a mark of UTF-16 says so.

    Raises:
        DatasetError: encoding: the file is not in the encoding that the user named, or that its mark promises.
    """
    encoding = context.options.encoding
    if encoding == "auto":
        with path.open("rb") as file:
            if not file.read(2).startswith(UTF16_BOMS):
                return path
        encoding = "utf-16"
        context.notes.decide("encoding", encoding, "the file begins with the byte order mark of UTF-16")
    return path if encoding == "utf-8" else _transcode(path, encoding, context)


def _codec(path: Path, encoding: str) -> str:
    """Return the name of Python's codec; UTF-16 without a mark is little-endian unless NULs come first."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if encoding != "utf-16" or head.startswith(UTF16_BOMS):
        return encoding
    return "utf-16-be" if head[0::2].count(0) > head[1::2].count(0) else "utf-16-le"


def _transcode(path: Path, encoding: str, context: Context) -> Path:
    out = context.scratch / "utf8.txt"
    try:
        with (
            path.open(encoding=_codec(path, encoding), newline="") as source,
            out.open("w", encoding="utf-8", newline="") as target,
        ):
            while chunk := source.read(CHUNK_CHARS):
                target.write(chunk)
    except UnicodeError as error:
        message = (
            f"the file is not {encoding} text ({error.reason if isinstance(error, UnicodeDecodeError) else error})"
        )
        message += "; give the encoding that it was saved in, or save it as UTF-8"
        raise DatasetError(Code.ENCODING, message, [RowError(("encoding",), message)]) from error
    return out


def not_utf8(path: Path, header: int = 1) -> DatasetError:
    """Return the error that names the first line of a file that is not UTF-8; the first `header` lines are no rows."""
    number, line = 0, b""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            number += 1
            try:
                line.decode()
            except UnicodeDecodeError:
                break
    shown = line.decode("cp1252", errors="replace").strip()[:MAX_SHOWN]
    message = (
        f"line {number} is not UTF-8 text; save the file in the encoding UTF-8, or say its encoding: "
        f'encoding="cp1252" (Windows, Western Europe) would read {shown!r}'
    )
    row = number - 1 - header if number > header else None
    return DatasetError(Code.ENCODING, message, [RowError(("file",), message, row)])
