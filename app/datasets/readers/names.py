"""Checks names of columns and classes: trimmed, normalised (NFC), distinct and printable."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.limits import Limits

MAX_NAME = 255


def clean_name(name: str) -> str:
    """Return the name as it is stored, trimmed and normalised; raise bad_name."""
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(cleaned) <= MAX_NAME or any(unicodedata.category(char) in {"Cc", "Cs"} for char in cleaned):
        message = f"{name[:60]!r} is no name; use 1 to {MAX_NAME} characters without control characters"
        raise DatasetError(Code.BAD_NAME, message, [RowError(("file", name[:60]), message)])
    return cleaned


def check_names(names: Sequence[str], limits: Limits) -> list[str]:
    """Return the names of a table's columns as they are stored.

    Raises:
        DatasetError: too_large, bad_name or duplicate_columns.
    """
    if not names:
        raise DatasetError(Code.EMPTY_DATASET, "the table has no columns; its first line names them")
    if len(names) > limits.columns:
        raise DatasetError(Code.TOO_LARGE, f"the table has {len(names)} columns; at most {limits.columns} are taken")
    empty = [number for number, name in enumerate(names, 1) if not name.strip()]
    if empty:
        message = f"column {empty[0]} has no name; give every column one"
        raise DatasetError(Code.BAD_NAME, message, [RowError(("file",), message)])
    cleaned = [clean_name(name) for name in names]
    repeated = [name for name, count in Counter(cleaned).items() if count > 1]
    if repeated:
        message = f"the column {repeated[0]!r} is there more than once; names must differ"
        raise DatasetError(Code.DUPLICATE_COLUMNS, message, [RowError((name,), message) for name in repeated[:20]])
    return cleaned
