"""A table whose rows are texts with labels: its one column of text becomes the inputs."""

import re
from contextlib import closing
from dataclasses import replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.number_parsing import lex
from app.datasets.columns.roles import assign_roles
from app.datasets.columns.type_inference import MAX_NAME, is_free
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Loaded, TextColumn
from app.datasets.readers.collectors import TextRows, select
from app.datasets.report import Notes

AT_ONCE = 1024
LOOKED_AT = 10_000
ID_NAME = re.compile(r"(^|[_ .-])(id|uuid|guid|index|key)$|^unnamed: 0$", re.IGNORECASE)


def as_text(loaded: Loaded, context: Context) -> Loaded:
    """Move the column of text into the inputs where the user asks for texts, or where it is all there is to learn from.

    Raises:
        DatasetError: bad_roles: no column, or more than one, could be the text; or too_large, bad_text, empty_dataset.
    """
    if loaded.inputs is not None or context.options.modality not in {None, "text"}:
        return loaded
    column = _chosen(loaded, context)
    return loaded if column is None else _with_texts(loaded, column, context)


def _chosen(loaded: Loaded, context: Context) -> TextColumn | None:
    roles = assign_roles(loaded, context.options, Notes())  # what it decides is noted when roles are given for good
    wanted = [column for column in loaded.columns if roles[column.name] == "input"]
    free = [column for column in loaded.columns if roles[column.name] == "auto"]
    if context.options.modality == "text":
        return _one(wanted, free, context.notes)
    others = free if wanted or len(free) == 1 else [column for column in free if not _names_rows(column)]
    if len(wanted) + len(others) != 1:
        return None
    (column,) = wanted or others
    if not isinstance(column, TextColumn) or not is_free(column) or not (wanted or _has_words(column)):
        return None
    why = f"column {column.name} is free text and there is nothing else to learn from"
    context.notes.decide("modality", "text", why)
    ids = [other.name for other in free if other is not column]
    if ids:
        context.notes.notice(f"columns left out, as they only name the rows: {', '.join(ids[:20])}")
    return column


def _one(wanted: list[Column], free: list[Column], notes: Notes) -> TextColumn:
    """Return the only column that can be the text; of several, the only one of free text."""
    found = [column for column in wanted or free if isinstance(column, TextColumn) and (wanted or _is_text(column))]
    if len(found) > 1 and not wanted:
        found = [column for column in found if is_free(column)] or found
    if len(found) == 1:
        if not wanted:
            notes.decide(f"columns.{found[0].name}", "input", "it is the only column of text")
        left = [column.name for column in free if column.name != found[0].name]
        if left:
            notes.notice(f"columns left out, as a dataset of texts has one input: {', '.join(left[:20])}")
        return found[0]
    names = ", ".join(column.name for column in found[:20]) or "none"
    message = f'a dataset of texts has one input column; give one the role "input"; columns of text: {names}'
    raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])


def _is_text(column: TextColumn) -> bool:
    return column.typed or bool(lex(column.values.slice(0, LOOKED_AT)).foreign.any())


def _has_words(column: TextColumn) -> bool:
    """Whether most of the first values hold blanks, or are longer than any name: prose rather than ids."""
    text = pc.utf8_trim_whitespace(column.values.slice(0, LOOKED_AT))
    longer = pc.greater(pc.utf8_length(text), MAX_NAME)
    hits = pc.sum(pc.or_(pc.match_substring(text, " "), longer)).as_py() or 0
    return bool(2 * hits > len(text) - text.null_count)


def _names_rows(column: Column) -> bool:
    """Whether a column is called an id and has another value in each row."""
    if not ID_NAME.search(column.name):
        return False
    values = column.values if isinstance(column, TextColumn) else pa.array(column.values)
    return bool(pc.count_distinct(values, mode="all").as_py() == len(values))


def _with_texts(loaded: Loaded, column: TextColumn, context: Context) -> Loaded:
    chunks = column.values.chunks if isinstance(column.values, pa.ChunkedArray) else [column.values]
    pieces = (chunk.slice(start, AT_ONCE) for chunk in chunks for start in range(0, len(chunk), AT_ONCE))
    with closing(TextRows(context)) as rows:
        for text in chain.from_iterable(piece.to_pylist() for piece in pieces):
            rows.add(text)
        texts, kept = rows.finish()
    return replace(
        loaded,
        modality="text",
        rows=kept.places,
        inputs=texts,
        columns=tuple(select(other, kept.places) for other in loaded.columns if other is not column),
        corrupt=kept.empty,
        taken=(column.name,),
    )
