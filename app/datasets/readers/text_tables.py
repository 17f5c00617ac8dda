"""Makes texts of the rows of a table: its one column of text becomes the inputs."""

from contextlib import closing
from dataclasses import replace
from itertools import chain

import pyarrow as pa

from app.datasets.columns.free_text import is_free_text, is_text
from app.datasets.columns.roles import assign_roles
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Column, Loaded, TextColumn
from app.datasets.readers.collectors import CollectedTexts, take_rows
from app.datasets.readers.text_columns import TextChoice, choose_text, labels_beside
from app.datasets.report import Notes

BATCH_ROWS = 1024


def with_texts(loaded: Loaded, context: Context) -> Loaded:
    """Return the table with its text as inputs where the user chose that, or where its columns say so.

    Raises:
        DatasetError: bad_roles: no column, or more than one, could be the text; or too_large, bad_text, empty_dataset.
    """
    if loaded.inputs is not None or context.options.modality not in {None, "text"}:
        return loaded
    roles = assign_roles(loaded, context.options, Notes())  # its decisions are noted when columns are encoded
    inputs = [column for column in loaded.columns if roles[column.name] == "input"]
    free = [column for column in loaded.columns if roles[column.name] == "auto"]
    targets = [column for column in loaded.columns if roles[column.name] == "target"]
    if context.options.modality == "text":
        choice: TextChoice | None = _only_text(inputs, free, targets, context.notes)
    else:
        choice = choose_text(inputs, free, targets, context)
    if choice is None:
        return loaded
    if choice.target is not None:
        loaded = replace(loaded, roles=loaded.roles | {choice.target: "target"})
    return _collect_texts(loaded, choice.text, context)


def _only_text(inputs: list[Column], free: list[Column], targets: list[Column], notes: Notes) -> TextChoice:
    """Return the only column that can be the text; of several, the only one of free text."""
    texts = [column for column in inputs or free if isinstance(column, TextColumn) and (inputs or is_text(column))]
    if len(texts) > 1 and not inputs:
        texts = [column for column in texts if is_free_text(column)] or texts
    if len(texts) != 1:
        names = ", ".join(column.name for column in texts[:20]) or "none"
        message = f'a dataset of texts has one input column; give one the role "input"; columns of text: {names}'
        raise DatasetError(Code.BAD_ROLES, message, [RowError(("columns",), message)])
    (text,) = texts
    if not inputs:
        notes.decide(f"columns.{text.name}", "input", "it is the only column of text")
    others = [column for column in free if column is not text]
    target = None if targets else labels_beside(f"the texts of {text.name}", others, notes)
    left_out = [column.name for column in others if column.name != target]
    if left_out:
        notes.notice(f"columns left out, as a dataset of texts has one input: {', '.join(left_out[:20])}")
    return TextChoice(text, target)


def _collect_texts(loaded: Loaded, column: TextColumn, context: Context) -> Loaded:
    """Return the table with the texts of `column` as inputs, without rows whose text is empty."""
    chunks = column.values.chunks if isinstance(column.values, pa.ChunkedArray) else [column.values]
    batches = (chunk.slice(start, BATCH_ROWS) for chunk in chunks for start in range(0, len(chunk), BATCH_ROWS))
    with closing(CollectedTexts(context)) as rows:
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
