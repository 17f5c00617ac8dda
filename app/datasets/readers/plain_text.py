"""Plain text: UTF-8, cut into lines, paragraphs, or windows of characters that overlap by one.

The overlap lets a language model, which learns to say each character from those before it, learn every character but
the file's first exactly once. Every kind of line end becomes a newline.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Loaded
from app.datasets.options import TextOptions
from app.datasets.readers.collectors import TextRows
from app.datasets.readers.csv import not_utf8

PIECE = 1 << 20


def read_plain(path: Path, context: Context) -> Loaded:
    """Read a text file whose rows have nothing but their text.

    Raises:
        DatasetError: encoding, bad_text, too_large or empty_dataset.
    """
    if path.stat().st_size > context.limits.text_bytes:
        message = f"the text is larger than {context.limits.text_bytes} bytes; upload it in parts"
        raise DatasetError(Code.TOO_LARGE, message)
    wish = context.options.text or TextOptions()
    if wish.rows == "auto":
        why = f"pieces of {wish.window} characters that overlap by one; text.rows may say lines or paragraphs"
        context.notes.decide("text.rows", "windows", why)
    windows = wish.rows in {"auto", "windows"}
    try:
        with path.open(encoding="utf-8-sig") as file, closing(TextRows(context, blank=windows)) as rows:
            for piece in _windows(file, wish.window) if windows else WAYS[wish.rows](file, context):
                rows.add(piece)
            texts, kept = rows.finish()
    except UnicodeDecodeError as error:
        raise not_utf8(path, header=0) from error
    return Loaded("text", "text", rows.count, kept.places, texts, (), corrupt=kept.empty, windows=windows)


def _lines(file: TextIO, context: Context) -> Iterator[str]:
    """Give the lines that hold something."""
    blank = 0
    for line in _bounded(file, context):
        if line.strip():
            yield line.removesuffix("\n")
        else:
            blank += 1
    if blank:
        context.notes.notice(f"{blank} blank lines were skipped")


def _paragraphs(file: TextIO, context: Context) -> Iterator[str]:
    """Give runs of lines between blank ones, joined as they stand."""
    lines: list[str] = []
    room = context.limits.field_chars
    for line in _bounded(file, context):
        if line.strip():
            lines.append(line)
            room -= len(line)
        if lines and (not line.strip() or room < -1):
            yield "".join(lines).removesuffix("\n")  # one that is too long is refused by whoever takes it
            lines, room = [], context.limits.field_chars
    if lines:
        yield "".join(lines).removesuffix("\n")


def _bounded(file: TextIO, context: Context) -> Iterator[str]:
    """Give lines, of one that is too long its beginning: enough to refuse it."""
    return iter(lambda: file.readline(context.limits.field_chars + 2), "")


def _windows(file: TextIO, window: int) -> Iterator[str]:
    """Give windows of `window` characters; each but the first begins with the last character of the one before."""
    held = ""
    while piece := file.read(PIECE):
        held += piece
        starts = range(0, len(held) - window, window - 1)
        for start in starts:
            yield held[start : start + window]
        held = held[len(starts) * (window - 1) :]
    if held:
        yield held


WAYS = {"lines": _lines, "paragraphs": _paragraphs}
