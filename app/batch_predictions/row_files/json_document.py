"""One JSON document: a list of rows, an object that holds one, an object of columns, or one row.

    [{"age": 41}, {"age": 42}]
    {"inputs": [{"age": 41}, {"age": 42}], ...}          as the body of a request
    {"age": [41, 42]}                                    columns
    {"age": {"0": 41, "1": 42}}                          as pandas writes a frame
    {"columns": ["age"], "data": [[41], [42]]}           as pandas does with orient="split"

The edges of the rows are found in the bytes of the file (`app.kit.json_outline`), and a row is parsed by itself, so
that neither the document nor a column is ever in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from app.batch_predictions.row_files.base import Item, Opening
from app.batch_predictions.row_files.json_bytes import MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, JsonBytes, opened
from app.batch_predictions.row_files.json_values import TICK_ROWS, JsonValues, json_item
from app.datasets.errors import Code, DatasetError
from app.datasets.readers import BOM, JSON_DOCUMENT
from app.kit import strict_json

_COLUMNS_BYTES = 8 << 20  # of the blocks of all columns
_HEAD_BYTES = 4096
_END = b"\0"  # which no document holds outside of strings


Reading: TypeAlias = Callable[[JsonBytes, int], Iterator[Item]]


class JsonDocument(JsonValues):
    """A document whose rows `read` yields: all of them, of which those before a place need not be parsed."""

    def __init__(self, path: Path, opening: Opening, read: Reading) -> None:
        self._path, self._opening, self._read = path, opening, read
        super().__init__()

    def _items(self, start: int) -> Iterator[Item]:
        with opened(self._path) as file:
            for row, item in enumerate(self._read(file, start)):
                if row % TICK_ROWS == TICK_ROWS - 1:
                    self._opening.tick()
                yield item


def is_like_document(path: Path) -> bool:
    """Return whether a file begins as a JSON document does that is no JSON Lines."""
    with path.open("rb") as file:
        return JSON_DOCUMENT.match(file.read(_HEAD_BYTES).removeprefix(BOM)) is not None


def open_document(path: Path, opening: Opening) -> JsonDocument | None:
    """Return the rows of a document in UTF-8; None for another file, and for one row that is a line of JSON Lines.

    Raises:
        DatasetError: bad_json: the document is cut off, or its rows are written in a way that is not read.
    """
    with opened(path) as file:
        top = file.first_byte(0)
        is_whole = top is not None and file.at(top) in b"[{" and file.closes_at_end(top)
        if top is None or not is_whole:
            if top is not None and is_like_document(path) and file.end_of(top) is None:
                message = "the JSON document is cut off: its first bracket is never closed; send the whole file"
                raise DatasetError(Code.BAD_JSON, message)
            return None
        reading = (_reading_of_list if file.at(top) == b"[" else _reading_of_object)(file, top, opening)
    return None if reading is None else JsonDocument(path, opening, reading)


def _rows(file: JsonBytes, start: int, *, at: int) -> Iterator[Item]:
    """Yield the items of the list at a place as rows."""
    for row, text in enumerate(file.items(at, start)):
        yield Item(None, None, 0) if text is None else json_item(text, f"row {row}")


def _rows_under(file: JsonBytes, start: int, *, at: int, names: list[str]) -> Iterator[Item]:
    """Yield the lists at a place as objects of these columns."""
    for row, item in enumerate(_rows(file, start, at=at)):
        if item.error is not None or row < start:
            yield item
        elif not isinstance(item.value, list) or len(item.value) != len(names):
            yield Item(None, f"row {row}: it is no list of {len(names)} values, one for each of the columns", item.size)
        else:
            yield Item(dict(zip(names, item.value, strict=True)), None, item.size)


def _only_row(file: JsonBytes, start: int, *, at: int) -> Iterator[Item]:
    """Yield the whole document as a row."""
    del start
    yield json_item(file.read(at, file.size), "row 0")


def _rows_of_columns(file: JsonBytes, start: int, *, columns: Mapping[str, int]) -> Iterator[Item]:
    """Yield the values at the same place of all columns, each a list or an object by row, as rows.

    Raises:
        DatasetError: bad_json: columns have different lengths, or rows.
    """
    block_bytes = max(MIN_BLOCK_BYTES, min(MAX_BLOCK_BYTES, _COLUMNS_BYTES // len(columns)))
    are_objects = [file.at(place) == b"{" for place in columns.values()]
    cursors = [file.items(place, start, block_bytes) for place in columns.values()]
    for row, texts in enumerate(zip_longest(*cursors, fillvalue=_END)):
        if _END in texts:
            raise _of_lengths(columns, texts, row)
        if row < start:
            yield Item(None, None, 0)
        else:
            whole = [text or b"" for text in texts]
            cells = [b"{%b}" % text if is_object else text for text, is_object in zip(whole, are_objects, strict=True)]
            yield _joined(row, list(columns), cells, are_objects)


def _of_lengths(columns: Mapping[str, int], texts: Sequence[bytes | None], row: int) -> DatasetError:
    """Return the error for columns of which some end before this row."""
    short, long = (
        next(name for name, text in zip(columns, texts, strict=True) if (text == _END) is ends)
        for ends in (True, False)
    )
    message = f"column {short[:100]!r} has {row} values and column {long[:100]!r} has more; a row has one of each"
    return DatasetError(Code.BAD_JSON, message)


def _joined(row: int, names: Sequence[str], cells: Sequence[bytes], are_objects: Sequence[bool]) -> Item:
    """Return the row of some cells; those of objects are under the key of the row, which all columns share."""
    whole = json_item(b"[%b]" % b",".join(cells), f"row {row}")
    if whole.error is not None or len(whole.value) != len(cells):
        items = [json_item(cell, f"row {row}, column {name[:100]}") for name, cell in zip(names, cells, strict=True)]
        error = next((item.error for item in items if item.error is not None), whole.error)
        return Item(None, error or f"row {row} is no JSON", whole.size)
    values = whole.value
    keys = {next(iter(value)) for value, is_object in zip(values, are_objects, strict=True) if is_object}
    if len(keys) > 1:
        one, other = sorted(keys)[:2]
        message = (
            f'row {row} is {one[:40]!r} in one column and {other[:40]!r} in another; write it with orient="records"'
        )
        raise DatasetError(Code.BAD_JSON, message)
    plain = (
        next(iter(value.values())) if is_object else value for value, is_object in zip(values, are_objects, strict=True)
    )
    return Item(dict(zip(names, plain, strict=True)), None, whole.size)


def _reading_of_list(file: JsonBytes, top: int, opening: Opening) -> Reading | None:
    """Return how the rows of a document that is a list are read; None where it is one row, on a line."""
    expected = opening.expected
    text = next(file.items(top), None)
    try:
        first = {} if text is None else strict_json.loads(text)
    except strict_json.StrictJsonError:
        if not _is_like_document_at(file, top):
            return None
        first = {}
    whole: Reading = partial(_only_row, at=top)
    one_row = None if file.is_one_line(top) else whole
    match first:
        case list():
            is_row = expected.modality == "series" and _is_series(first, expected.channels)
            is_row |= expected.modality == "image" and one_row is None
        case dict():
            is_row = False
        case _:
            is_row = expected.modality not in {"text", "image"}
    if is_row:
        return one_row
    return _decided(partial(_rows, at=top), "a list of rows", opening)


def _is_like_document_at(file: JsonBytes, top: int) -> bool:
    """Return whether a document that is no JSON Lines begins at a place."""
    return JSON_DOCUMENT.match(file.read(top, min(file.size, top + _HEAD_BYTES))) is not None


def _is_series(first: list[Any], channels: int) -> bool:
    """Return whether a list that begins with this list is one series, and not a list of series."""
    return not any(isinstance(item, list) for item in first) and len(first) == channels


def _reading_of_object(file: JsonBytes, top: int, opening: Opening) -> Reading | None:
    """Return how the rows of a document that is an object are read; None where it is one row, on a line."""
    expected, members = opening.expected, file.members(top)
    lists = {name: at for name, at in members.items() if file.at(at) == b"["}
    nested = {name: at for name, at in members.items() if file.at(at) in b"[{"}
    one_row: Reading | None = None if file.is_one_line(top) else partial(_only_row, at=top)
    spread = any(f"{name}0" in expected.names for name in members)
    if spread or not expected.names.isdisjoint(name.strip() for name in members):
        is_long = expected.series is not None and expected.series.id in members
        are_columns = len(nested) == len(members) and (is_long or expected.modality != "series") and not spread
        return _decided(partial(_rows_of_columns, columns=nested), "columns", opening) if are_columns else one_row
    if {"columns", "data"} <= lists.keys():
        names = _names(file, lists["columns"])
        return _decided(partial(_rows_under, at=lists["data"], names=names), 'orient="split" of pandas', opening)
    holds_rows = [name for name, at in lists.items() if _is_list_of_rows(file, at, opening)]
    if "inputs" in lists or len(holds_rows) == 1:
        return _held(lists, "inputs" if "inputs" in lists else holds_rows[0], members, opening)
    if len(nested) == len(members) and not lists and len(members) > 1:
        message = "its keys are rows, or names that the model does not know; write a list of rows, as pandas does with "
        raise DatasetError(Code.BAD_JSON, f'{message}to_json(path, orient="records")')
    return one_row


def _is_list_of_rows(file: JsonBytes, at: int, opening: Opening) -> bool:
    """Return whether the first item of a list may be a row: an object or a list, or a text for a model of texts."""
    first = file.first_byte(at + 1)
    return first is not None and file.at(first) in (b"{", b"[", b'"' if opening.expected.modality == "text" else b"{")


def _held(lists: Mapping[str, int], name: str, members: Mapping[str, int], opening: Opening) -> Reading:
    """Return how the list under a key is read as rows; the decision names the other keys."""
    others = ", ".join(repr(other[:40]) for other in islice((key for key in members if key != name), 5))
    what = f"the rows are those under {name[:100]!r}"
    return _decided(partial(_rows, at=lists[name]), f"{what}; not read: {others}" if others else what, opening)


def _decided(reading: Reading, what: str, opening: Opening) -> Reading:
    opening.notes.decide("format", what, "the file is one JSON document", "write each row on a line (JSON Lines)")
    return reading


def _names(file: JsonBytes, at: int) -> list[str]:
    """Return the names of the columns, a list at a place. Raises DatasetError."""
    names = [item.value for item in _rows(file, 0, at=at)]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        message = '`columns` holds a name for each column, each once, as pandas writes with orient="split"'
        raise DatasetError(Code.BAD_JSON, message)
    return names
