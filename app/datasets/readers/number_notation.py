"""How the numbers of a CSV file are written: which sign parts the fraction, and which groups thousands.

1.234,5 and 1,234.5 show it themselves; 1.234 is 1234 or 1.234. A column decides for itself where it can: 0.205, 12.34
and 1234.567 are fractions, 1.234.567 has thousands. Whole numbers below 1000 among nothing but 1.234 and 45.678 tell of
thousands, as some fractions would have fewer digits than three; whole numbers above tell of fractions. Then the other
columns decide, and then the delimiter, with a warning.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import TextColumn
from app.datasets.frames.column_parts import map_columns
from app.datasets.frames.spill import spill
from app.datasets.readers.amounts import with_plain_amounts
from app.ml.data.written_numbers import GROUPED_BY_COMMAS, GROUPED_BY_POINTS, MISSING_WORD
from app.ml.spec import DecimalSign, WarningCode

Columns = tuple[TextColumn, ...]
WORDS = MISSING_WORD.removeprefix("(?i)^").removesuffix("$")
EXPONENT = r"(e[+-]?\d+)?"
POINT = rf"(?i)^\s*([+-]?({GROUPED_BY_COMMAS}(\.\d*)?|\d*(\.\d*)?{EXPONENT})|{WORDS})\s*$"
COMMA = rf"(?i)^\s*([+-]?({GROUPED_BY_POINTS}(,\d*)?|\d*(,\d*)?{EXPONENT})|{WORDS})\s*$"
SIGN = r"\d[.,]|[.,]\d"
POINT_SIGN, COMMA_SIGN = r"\d\.|\.\d", r"\d,|,\d"
SMALL, LARGE = r"^\s*[+-]?[1-9]\d{0,2}\s*$", r"^\s*[+-]?[1-9]\d{3,}\s*$"
SIGNS: dict[DecimalSign, str] = {"point": ".", "comma": ","}
OTHER: dict[DecimalSign, DecimalSign] = {"point": "comma", "comma": "point"}
MIN_CERTAIN = 40  # of so many fractions some would have fewer digits than three (0.9 ** 40 = 0.015)
MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Written:
    """How the numbers of a column are written.

    `notations` are those in which all of its values are numbers; `signs` those whose sign for fractions occurs.
    """

    column: TextColumn
    notations: tuple[DecimalSign, ...]
    signs: tuple[DecimalSign, ...]

    @property
    def proven(self) -> DecimalSign | None:
        """Return the only notation in which all values are numbers, or None."""
        return self.notations[0] if len(self.notations) == 1 else None


def with_decimal_points(columns: Columns, delimiter: str, context: Context) -> Columns:
    """Return the columns with decimal points and without signs for thousands, as `options.decimal` or the values say.

    Raises:
        DatasetError: unknown_column: `options.decimal` names a column that is not there.
    """
    chosen = _chosen(columns, context)
    columns = with_plain_amounts(columns, context)
    may_be = [column for column in columns if _is_open(column, context)]
    marks = map_columns(_marks, may_be, context.processes, context.scratch)
    written = [Written(column, *signs) for column, signs in zip(may_be, marks, strict=True)]
    free = [item for item in written if item.notations and item.signs and chosen[item.column.name] == "auto"]
    decided = {item.column.name: notation for item in written if (notation := _forced(item, chosen)) is not None}
    proven = {item.column.name: item.proven for item in free if item.proven is not None}
    _note_proven(free, context)
    ambiguous = [item for item in free if item.proven is None]
    evidence = {notation for name, notation in (proven | decided).items()}
    for item in ambiguous:
        decided[item.column.name] = _decide(item, evidence, delimiter, context)
    notations = proven | decided
    return tuple(
        _rewrite(column, notations[column.name], context) if column.name in notations else column for column in columns
    )


def _chosen(columns: Columns, context: Context) -> dict[str, str]:
    """Return what the user says of each column."""
    decimal = context.options.decimal
    names = [column.name for column in columns]
    if isinstance(decimal, str):
        return dict.fromkeys(names, decimal)
    unknown = next((name for name in decimal if name not in names), None)
    if unknown is not None:
        message = f"decimal names the column {unknown[:100]!r}, which the file does not have"
        raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("decimal", unknown), message)])
    return {name: decimal.get(name, "auto") for name in names}


def _is_open(column: TextColumn, context: Context) -> bool:
    """Return whether the values may be numbers: the user does not declare another type."""
    return context.options.types.get(column.name, "number") == "number"


def _marks(column: TextColumn) -> tuple[tuple[DecimalSign, ...], tuple[DecimalSign, ...]]:
    """Return the notations in which all values are numbers, and those whose sign for fractions occurs."""
    if not _any(column, SIGN):
        return (), ()
    patterns: dict[DecimalSign, str] = {"point": POINT, "comma": COMMA}
    signs: dict[DecimalSign, str] = {"point": POINT_SIGN, "comma": COMMA_SIGN}
    return (
        tuple(notation for notation, pattern in patterns.items() if _all(column, pattern)),
        tuple(notation for notation, pattern in signs.items() if _any(column, pattern)),
    )


def _forced(item: Written, chosen: dict[str, str]) -> DecimalSign | None:
    """Return the notation that the user chose for a column, where all of its values are such numbers."""
    return next((notation for notation in item.notations if notation == chosen[item.column.name]), None)


def _note_proven(free: Sequence[Written], context: Context) -> None:
    """Record the notations that values show, where they are not plain numbers with a point."""
    for notation in SIGNS:
        pattern = SIGN if notation == "comma" else COMMA_SIGN
        items = [item for item in free if item.proven == notation and _any(item.column, pattern)]
        if items:
            names = ", ".join(item.column.name for item in items[:MAX_SHOWN]) + (
                " ..." if len(items) > MAX_SHOWN else ""
            )
            first = items[0].column
            reason = f"{len(items)} columns hold numbers such as {_example(first, pattern)}: {names}"
            context.notes.decide("decimal", notation, reason, f'decimal={{"{first.name}": "{OTHER[notation]}"}}')


def _decide(item: Written, evidence: set[DecimalSign], delimiter: str, context: Context) -> DecimalSign:
    """Return the notation of a column whose signs all stand before three digits, and say so."""
    column = item.column
    fraction = item.signs[0]  # the notation in which they part fractions
    grouped = _count(column, SIGN)
    small, large = _any(column, SMALL), _any(column, LARGE)
    elsewhere = next(iter(evidence)) if len(evidence) == 1 else None
    example = _example(column, SIGN)
    if len(item.signs) > 1:
        notation, why, certain = fraction, "both signs stand before three digits each", False
    elif large:
        notation, why, certain = fraction, f"whole numbers above 999 are written without a sign, unlike {example}", True
    elif small and elsewhere != fraction and (delimiter != "," or fraction == "comma"):
        notation = OTHER[fraction]
        why = f"{grouped} values are like {example}, and whole numbers below 1000 are written without a sign"
        certain = grouped >= MIN_CERTAIN or elsewhere == notation
    elif elsewhere is not None:
        notation, why = elsewhere, f"other columns have a decimal {elsewhere}"
        certain = not (small and elsewhere == fraction and grouped >= MIN_CERTAIN)
    elif delimiter == ",":
        notation, why = "point", "commas separate the fields of this file"
        certain = fraction == "comma" or not (small and grouped >= MIN_CERTAIN)
    else:
        notation, why, certain = fraction, f"all of its values are like {example}, and nothing says more", False
    if notation == "comma" or fraction == "comma" or not certain:
        _note_decided(item, notation, why, certain=certain, count=grouped, context=context)
    return notation


def _note_decided(
    item: Written, notation: DecimalSign, why: str, *, certain: bool, count: int, context: Context
) -> None:
    name, example = item.column.name, _example(item.column, SIGN)
    option = f'decimal={{"{name}": "{OTHER[notation]}"}}'
    context.notes.decide(f"decimal.{name}", notation, why, option)
    if not certain:
        value = example.replace(SIGNS[OTHER[notation]], "").replace(",", ".")
        message = f"column {name}: {count} values such as {example} were read as {value}; {why}"
        context.notes.warn(WarningCode.AMBIGUOUS_NUMBERS, message, count=count, remedy=f"{option} reads them otherwise")


def _rewrite(column: TextColumn, notation: DecimalSign, context: Context) -> TextColumn:
    """Return the column with points for fractions and no sign for thousands."""
    if notation == "point" and not _any(column, COMMA_SIGN):
        return replace(column, decimal=notation)
    group = SIGNS[OTHER[notation]]
    chunks = [
        spill(pc.replace_substring(_without(chunk, group), ",", "."), context.scratch) for chunk in column.values.chunks
    ]
    return replace(column, values=pa.chunked_array(chunks, pa.string()), decimal=notation)


def _without(chunk: Any, sign: str) -> Any:
    """Return texts without `sign` between digits."""
    return pc.replace_substring_regex(chunk, rf"(\d)[{sign}](\d)", r"\1\2")


def _all(column: TextColumn, pattern: str) -> bool:
    return all(pc.all(matches).as_py() is not False for matches in _matches(column, pattern))


def _any(column: TextColumn, pattern: str) -> bool:
    return any(pc.any(matches).as_py() for matches in _matches(column, pattern))


def _count(column: TextColumn, pattern: str) -> int:
    return sum(pc.sum(matches).as_py() or 0 for matches in _matches(column, pattern))


def _example(column: TextColumn, pattern: str) -> str:
    """Return the first value that matches."""
    pairs = zip(column.values.chunks, _matches(column, pattern), strict=True)
    filtered = (chunk.filter(matches) for chunk, matches in pairs)
    return str(next(values[0].as_py() for values in filtered if len(values))).strip()


def _matches(column: TextColumn, pattern: str) -> Iterable[Any]:
    return (pc.match_substring_regex(chunk, pattern) for chunk in column.values.chunks)
