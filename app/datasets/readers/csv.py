"""Reads CSV: how it is laid out is seen in its first lines, and quotes that swallow rows make it read line by line."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Loaded
from app.datasets.limits import Limits
from app.datasets.readers.csv_parsing import Tally
from app.datasets.readers.csv_parts import Table, read_in_parts
from app.datasets.readers.encodings import not_utf8
from app.datasets.readers.number_notation import with_decimal_points
from app.datasets.readers.stray_quotes import judge_spans
from app.datasets.readers.table_layout import DELIMITER_NAMES, SAMPLE_CHARS, Layout, is_uneven_table, sniff
from app.datasets.readers.unnamed_columns import sort_out_unnamed
from app.ml.spec import WarningCode

MAX_SAMPLE_CHARS = 1 << 20
MIN_SAMPLE_LINES = 4
TOTAL = re.compile(r"((grand|sub)[ -]?)?totals?:?|sum:?|summe:?|gesamt:?|insgesamt:?|somme:?|totale:?", re.IGNORECASE)


def read_csv(path: Path, context: Context) -> Loaded:
    """Read a table whose columns are all text; their types are inferred later.

    Raises:
        DatasetError: encoding, bad_csv, ragged_rows, duplicate_columns, bad_name, too_large or empty_dataset.
    """
    csv.field_size_limit(context.limits.field_chars)
    try:
        layout = _layout(path, context)
        table = _read_table(path, layout, context)
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    count = table.tally.rows
    if not count:
        raise DatasetError(Code.EMPTY_DATASET, "the file holds a header and no rows; add rows")
    _note_layout(layout, table.tally, context)
    _warn_of_totals(table, context)
    sorted_out = sort_out_unnamed(table.columns, table.unnamed, context)
    columns = with_decimal_points(sorted_out.columns, layout.delimiter, context)
    return Loaded("csv", "table", count, np.arange(count), None, columns, roles=sorted_out.roles)


def _layout(path: Path, context: Context) -> Layout:
    with _open(path) as file:
        sample, whole = read_sample(file)
    return sniff(sample, context.limits, _header_option(sample, context), whole=whole)


def _open(path: Path) -> io.TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def read_sample(file: io.TextIOWrapper) -> tuple[str, bool]:
    """Return the first characters of a file, more where lines are long, and whether they are all of it."""
    sample = file.read(SAMPLE_CHARS)
    while sample.count("\n") + sample.count("\r") < MIN_SAMPLE_LINES and len(sample) < MAX_SAMPLE_CHARS:
        more = file.read(SAMPLE_CHARS)
        if not more:
            return sample, True
        sample += more
    return sample, not file.read(1)


def _header_option(sample: str, context: Context) -> str:
    """Return `options.header`; where it is open, names in other options say whether they are in the first line."""
    options = context.options
    names = [*options.columns, *options.types]
    if options.header != "auto" or not names:
        return options.header
    generated = all(name.startswith("x") and name[1:].isdecimal() for name in names)
    first = sample.partition("\n")[0]
    return "none" if generated and not any(name in first for name in names) else "auto"


def _read_table(path: Path, layout: Layout, context: Context) -> Table:
    """Read the file with quoted fields over several lines, or line by line where that alone makes a table of it."""
    multiline = context.options.multiline
    if multiline != "auto":
        return read_in_parts(path, layout, context, multiline=multiline == "yes")
    try:
        table = read_in_parts(path, layout, context, multiline=True)
    except DatasetError as error:
        return _read_lines(path, layout, context, error)
    spans = table.tally.spans
    if not spans:
        return table
    what = judge_spans(spans, table.tally.spanning / table.tally.rows, layout.delimiter, table.columns)
    if what == "rows":
        lines = _even_lines(path, layout, context)
        if lines is not None:
            _note_lines(spans[0].line, lines.tally.rows - table.tally.rows, context)
            return lines
    if what != "texts":
        _warn_of_spans(table.tally, context)
    return table


def _even_lines(path: Path, layout: Layout, context: Context) -> Table | None:
    """Return the file read line by line, or None where that makes no table of it."""
    try:
        return read_in_parts(path, layout, context, multiline=False)
    except DatasetError:
        return None


def _read_lines(path: Path, layout: Layout, context: Context, fault: DatasetError) -> Table:
    """Read a file whose quotes are unsound line by line, or refuse it for the fault that was seen first."""
    if fault.code not in {Code.BAD_CSV, Code.RAGGED_ROWS}:
        raise fault
    table = _even_lines(path, layout, context)
    if table is None:
        raise fault from None
    _note_lines(None, 0, context, fault.message)
    return table


def _note_lines(line: int | None, swallowed: int, context: Context, fault: str = "") -> None:
    what = (
        fault.partition(";")[0] if line is None else f"the field in quotes that begins in line {line} holds whole rows"
    )
    reason = f"{what}; read line by line, all rows have equally many fields"
    context.notes.decide("multiline", "no", reason, 'multiline="yes"')
    message = f"{what}: quotes without a partner in their line are part of the text"
    message += f", and {swallowed} rows more are read that way" if swallowed else ""
    remedy = 'multiline="yes" reads quoted fields over several lines'
    context.notes.warn(WarningCode.STRAY_QUOTES, message, count=swallowed, remedy=remedy)


def _warn_of_spans(tally: Tally, context: Context) -> None:
    first = tally.spans[0]
    message = f"{tally.spanning} quoted fields over several lines may hold whole rows, the first in line {first.line}"
    context.notes.warn(
        WarningCode.STRAY_QUOTES,
        f"{message}; they were read as one text each",
        count=tally.spanning,
        rows=(span.row for span in tally.spans),
        remedy='multiline="no" makes a row of each line',
    )


def _note_layout(layout: Layout, tally: Tally, context: Context) -> None:
    """Record what was found out about the lines of the file."""
    notes, verdict = context.notes, layout.verdict
    if layout.says_delimiter or layout.delimiter != ",":
        reason = "its first line says so" if layout.says_delimiter else "the first lines are consistent that way"
        notes.decide("delimiter", DELIMITER_NAMES.get(layout.delimiter, layout.delimiter), reason)
    if layout.titles:
        notes.notice(f"{len(layout.titles)} lines before the table were skipped, the first {layout.titles[0][:80]!r}")
    if context.options.header == "auto":
        line, other = ("first", "none") if verdict.names else ("none", "first")
        notes.decide("header", line, verdict.reason, f'header="{other}"')
        _warn_of_header(layout, other, context)
    if tally.repeated:
        message = f"{tally.repeated} lines hold the names of the columns again, and were left out"
        remedy = "delete them where files were put below each other"
        notes.warn(WarningCode.REPEATED_HEADER, message, count=tally.repeated, remedy=remedy)
    if tally.ruled:
        notes.notice("the line of dashes below the names was skipped")
    if tally.blank:
        notes.notice(f"{tally.blank} blank lines were skipped")
    if tally.trimmed:
        notes.notice(
            f"{tally.trimmed} lines end in empty fields for which the first line has no name; they were cut off"
        )


def _warn_of_header(layout: Layout, other: str, context: Context) -> None:
    verdict = layout.verdict
    if verdict.names and not verdict.doubtful:
        return
    if verdict.names:
        message = "most fields of the first line are like the values below them, and yet it was read as names"
    else:
        message = f"the first line was read as a row, as {verdict.reason}; the columns are called x0, x1 ..."
    remedy = f'header="{other}" reads it {"as a row" if other == "none" else "as names"}'
    context.notes.warn(WarningCode.NO_HEADER, message, count=1, rows=() if verdict.names else (0,), remedy=remedy)


def _warn_of_totals(table: Table, context: Context) -> None:
    """Warn where the last row is called a total, as spreadsheets have it: it is no observation."""
    last = table.tally.rows - 1
    words = [str(column.values[last].as_py() or "") for column in table.columns]
    total = next((word.strip() for word in words if TOTAL.fullmatch(word.strip())), None)
    if total is not None and last > 0:
        message = f"the last row is called {total!r}, so that it may be the sum of the others; it was read like them"
        remedy = "delete it from the file, if it is no observation"
        context.notes.warn(WarningCode.TOTAL_ROW, message, count=1, rows=(last,), remedy=remedy)


def looks_like_table(path: Path, limits: Limits) -> str | None:
    """Return how the first lines of a file are those of a table with several columns, or None."""
    try:
        with _open(path) as file:
            sample, whole = read_sample(file)
    except UnicodeDecodeError:
        return None
    layout = sniff(sample, limits, whole=whole)
    if layout.even and layout.delimiter != " " and not layout.titles:
        return "all lines have equally many fields"
    return "no line has fewer fields than the first" if is_uneven_table(sample, limits, whole=whole) else None
