"""Makes texts of the rows of a table: its one column of text becomes the inputs."""

import re
from contextlib import closing
from dataclasses import replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.number_parsing import parse_numbers
from app.datasets.columns.roles import assign_roles
from app.datasets.columns.type_inference import MAX_NAME, is_free_text
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Loaded, TextColumn
from app.datasets.readers.collectors import TextRows, take_rows
from app.datasets.report import Notes

BATCH_ROWS = 1024
SAMPLED_ROWS = 10_000
ID_NAME = re.compile(r"(^|[_ .-])(id|uuid|guid|index|key)$|^unnamed: 0$", re.IGNORECASE)


def with_texts(loaded: Loaded, context: Context) -> Loaded:
    """Return the table with its text as inputs where the user chose that, or where there is nothing else to learn from.

    Raises:
        DatasetError: bad_roles: no column, or more than one, could be the text; or too_large, bad_text, empty_dataset.
    """
    if loaded.inputs is not None or context.options.modality not in {None, "text"}:
        return loaded
    column = _find_text_column(loaded, context)
    return loaded if column is None else _collect_texts(loaded, column, context)


def _find_text_column(loaded: Loaded, context: Context) -> TextColumn | None:
    """Return the column that becomes the inputs, or None where the table stays a table."""
    roles = assign_roles(loaded, context.options, Notes())  # its decisions are noted when columns are encoded
    inputs = [column for column in loaded.columns if roles[column.name] == "input"]
    free = [column for column in loaded.columns if roles[column.name] == "auto"]
    if context.options.modality == "text":
        return _only_text_column(inputs, free, context.notes)
    others = free if inputs or len(free) == 1 else [column for column in free if not _names_rows(column)]
    if len(inputs) + len(others) != 1:
        return None
    (column,) = inputs or others
    if not isinstance(column, TextColumn) or not is_free_text(column) or not (inputs or _has_words(column)):
        return None
    why = f"column {column.name} is free text and there is nothing else to learn from"
    context.notes.decide("modality", "text", why)
    ids = [other.name for other in free if other is not column]
    if ids:
        context.notes.notice(f"columns left out, as they only name the rows: {', '.join(ids[:20])}")
    return column


def _only_text_column(inputs: list[Column], free: list[Column], notes: Notes) -> TextColumn:
    """Return the only column that can be the text; of several, the only one of free text."""
    texts = [column for column in inputs or free if isinstance(column, TextColumn) and (inputs or _is_text(column))]
    if len(texts) > 1 and not inputs:
        texts = [column for column in texts if is_free_text(column)] or texts
    if len(texts) == 1:
        if not inputs:
            notes.decide(f"columns.{texts[0].name}", "input", "it is the only column of text")
        others = [column.name for column in free if column.name != texts[0].name]
        if others:
            notes.notice(f"columns left out, as a dataset of texts has one input: {', '.join(others[:20])}")
        return texts[0]
    names = ", ".join(column.name for column in texts[:20]) or "none"
    message = f'a dataset of texts has one input column; give one the role "input"; columns of text: {names}'
    raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _is_text(column: TextColumn) -> bool:
    return column.typed or bool(parse_numbers(column.values.slice(0, SAMPLED_ROWS)).foreign.any())


def _has_words(column: TextColumn) -> bool:
    """Return whether most of the first values have blanks inside, or are longer than a name: prose rather than ids."""
    text = pc.utf8_trim_whitespace(column.values.slice(0, SAMPLED_ROWS))
    longer = pc.greater(pc.utf8_length(text), MAX_NAME)
    matches = pc.sum(pc.or_(pc.match_substring(text, " "), longer)).as_py() or 0
    return bool(2 * matches > len(text) - text.null_count)


def _names_rows(column: Column) -> bool:
    """Return whether a column is called an id and has a different value in each row."""
    if not ID_NAME.search(column.name):
        return False
    values = column.values if isinstance(column, TextColumn) else pa.array(column.values)
    return bool(pc.count_distinct(values, mode="all").as_py() == len(values))


def _collect_texts(loaded: Loaded, column: TextColumn, context: Context) -> Loaded:
    """Return the table with the texts of `column` as inputs, without rows whose text is empty."""
    chunks = column.values.chunks if isinstance(column.values, pa.ChunkedArray) else [column.values]
    batches = (chunk.slice(start, BATCH_ROWS) for chunk in chunks for start in range(0, len(chunk), BATCH_ROWS))
    with closing(TextRows(context)) as rows:
        for text in chain.from_iterable(batch.to_pylist() for batch in batches):
            rows.add(text)
        texts, kept = rows.finish()
    return replace(
        loaded,
        modality="text",
        rows=kept.positions,
        inputs=texts,
        columns=tuple(take_rows(other, kept.positions) for other in loaded.columns if other is not column),
        corrupt=kept.empty,
        input_names=(column.name,),
    )
