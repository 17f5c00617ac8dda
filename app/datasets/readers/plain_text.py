"""Reads plain text: UTF-8, cut into lines, paragraphs, or windows of characters that overlap by one.

By the overlap a language model, which predicts each character from those before it, learns every character but the
file's first exactly once. Every kind of line end becomes a newline.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Loaded
from app.datasets.options import TextOptions
from app.datasets.readers.collectors import CollectedTexts
from app.datasets.readers.encodings import not_utf8

CHUNK_CHARS = 1 << 20


def read_plain(path: Path, context: Context) -> Loaded:
    """Read a text file; its rows have no other columns than their text.

    Raises:
        DatasetError: encoding, bad_text, too_large or empty_dataset.
    """
    if path.stat().st_size > context.limits.text_bytes:
        message = f"the text is larger than {context.limits.text_bytes} bytes; upload it in parts"
        raise DatasetError(Code.TOO_LARGE, message)
    options = context.options.text or TextOptions()
    if options.rows == "auto":
        why = f"pieces of {options.window} characters that overlap by one; text.rows may say lines or paragraphs"
        context.notes.decide("text.rows", "windows", why)
    windows = options.rows in {"auto", "windows"}
    try:
        with path.open(encoding="utf-8-sig") as file, closing(CollectedTexts(context, keep_blank=windows)) as rows:
            for text in _windows(file, options.window) if windows else CUTS[options.rows](file, context):
                rows.add(text)
            texts, kept = rows.finish()
    except UnicodeDecodeError as error:
        raise not_utf8(path, header=0) from error
    return Loaded("text", "text", rows.count, kept.positions, texts, (), corrupt=kept.empty, windows=windows)


def _lines(file: TextIO, context: Context) -> Iterator[str]:
    """Yield the lines that are not blank."""
    blank = 0
    for line in _bounded_lines(file, context):
        if line.strip():
            yield line.removesuffix("\n")
        else:
            blank += 1
    if blank:
        context.notes.notice(f"{blank} blank lines were skipped")


def _paragraphs(file: TextIO, context: Context) -> Iterator[str]:
    """Yield the runs of lines between blank ones."""
    lines: list[str] = []
    room = context.limits.field_chars
    for line in _bounded_lines(file, context):
        if line.strip():
            lines.append(line)
            room -= len(line)
        if lines and (not line.strip() or room < -1):
            yield "".join(lines).removesuffix("\n")  # CollectedTexts refuses one that is too long
            lines, room = [], context.limits.field_chars
    if lines:
        yield "".join(lines).removesuffix("\n")


def _bounded_lines(file: TextIO, context: Context) -> Iterator[str]:
    """Yield lines; of a line that is too long only its beginning, by which it is refused."""
    return iter(lambda: file.readline(context.limits.field_chars + 2), "")


def _windows(file: TextIO, window: int) -> Iterator[str]:
    """Yield windows of `window` characters; each begins with the last character of the one before."""
    buffer = ""
    while chunk := file.read(CHUNK_CHARS):
        buffer += chunk
        starts = range(0, len(buffer) - window, window - 1)
        for start in starts:
            yield buffer[start : start + window]
        buffer = buffer[len(starts) * (window - 1) :]
    if buffer:
        yield buffer


CUTS = {"lines": _lines, "paragraphs": _paragraphs}
