"""Files of text: plain where the user says so, or where texts are asked for and the file is no table."""

from pathlib import Path

from app.datasets.context import Context
from app.datasets.frames import Loaded
from app.datasets.readers.csv import is_regular, read_csv
from app.datasets.readers.jsonl import read_jsonl
from app.datasets.readers.plain_text import read_plain


def read_json_or_text(path: Path, context: Context) -> Loaded:
    """Read JSON Lines; or plain text, whatever it begins with, where `text` says how.

    Raises:
        DatasetError: see `read_jsonl` and `read_plain`.
    """
    return (read_jsonl if context.options.text is None else read_plain)(path, context)


def read_written(path: Path, context: Context) -> Loaded:
    """Read CSV; or plain text where `text` says how, or where the modality is text and nothing looks like a table.

    Raises:
        DatasetError: see `read_csv` and `read_plain`.
    """
    options = context.options
    if options.text is not None:
        return read_plain(path, context)
    if options.modality != "text" or options.columns or options.types:
        return read_csv(path, context)
    if is_regular(path, context.limits):
        context.notes.decide("format", "csv", "all lines have equally many fields; text says how plain text is cut")
        return read_csv(path, context)
    context.notes.decide("format", "plain text", "its lines are no rows of a table; columns says what a CSV holds")
    return read_plain(path, context)
