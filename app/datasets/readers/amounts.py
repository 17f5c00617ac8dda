"""Amounts in a CSV file: $1,234.50, 12 %, 1'234.50, 1 234,5 and (5.00) become plain numbers, which is a decision."""

import re
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.names import is_called_code
from app.datasets.context import Context
from app.datasets.frames import TextColumn
from app.datasets.frames.column_parts import map_columns
from app.datasets.frames.spill import spill
from app.ml.data.written_numbers import AMOUNT, MISSING_WORD, SIGN, UNCOMMON, without_signs

SAMPLED_ROWS = 1000
ZERO = r"^\s*0+([.,]0*)?\s*$"


def with_plain_amounts(columns: tuple[TextColumn, ...], context: Context) -> tuple[TextColumn, ...]:
    """Return the columns with plain numbers in place of amounts where all are of one currency, or all in percent."""
    may_be = [column for column in columns if _is_open(column, context)]
    amounts = map_columns(_find_amounts, may_be, context.processes, context.scratch)
    by_name = {column.name: item for column, item in zip(may_be, amounts, strict=True) if item is not None}
    return tuple(
        _plain(column, by_name[column.name], context) if column.name in by_name else column for column in columns
    )


def _is_open(column: TextColumn, context: Context) -> bool:
    """Return whether the first values may be amounts: no code and no other type that the user declares."""
    sample = _present(column.values.slice(0, SAMPLED_ROWS))
    open_type = context.options.types.get(column.name, "number") == "number"
    return open_type and bool(len(sample)) and _all(sample, AMOUNT) and not is_called_code(column.name)


@dataclass(frozen=True, slots=True)
class _Amounts:
    """The sign next to the amounts of a column, maybe an empty one, and the evidence."""

    sign: str
    evidence: str


def _find_amounts(column: TextColumn) -> _Amounts | None:
    """Return how amounts are written, or None where some value is none, all are plain, or they differ in kind."""
    text = _present(column.values)
    uncommon = text.filter(pc.match_substring_regex(text, UNCOMMON))
    if not len(uncommon) or not _all(text, AMOUNT):
        return None
    signed = pc.match_substring_regex(text, SIGN)
    examples = pc.unique(text.filter(signed)).to_pylist()
    signs = {sign for example in examples for sign in _signs(example)}
    unsigned = text.filter(pc.invert(signed))
    if len(signs) > 1 or ("%" in signs and len(unsigned) and not _all(unsigned, ZERO)):
        return None
    evidence = f"{len(uncommon)} values are written like {uncommon[0].as_py().strip()[:40]}"
    return _Amounts(next(iter(signs), ""), evidence)


def _plain(column: TextColumn, amounts: _Amounts, context: Context) -> TextColumn:
    """Return the column as plain numbers, which is a decision."""
    sign = amounts.sign
    what = f" and the sign {sign} is left out" if sign else ""
    reason = f"{amounts.evidence}: they are numbers{what}"
    context.notes.decide(f"types.{column.name}", "number", reason, f'types={{"{column.name}": "category"}}')
    chunks = [spill(_without_signs(chunk), context.scratch) for chunk in column.values.chunks]
    return replace(column, values=pa.chunked_array(chunks, pa.string()), sign=sign)


def _signs(text: str) -> set[str]:
    return {match[0] for match in re.finditer(SIGN, text)}


def _without_signs(values: Any) -> Any:
    """Return the texts of a chunk as plain numbers; words that mean a missing value stay."""
    encoded = values.dictionary_encode()
    word = re.compile(MISSING_WORD)
    plain = [text if word.match(text.strip()) else without_signs(text) for text in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(plain, pa.string()), encoded.indices)


def _present(values: Any) -> Any:
    """Return the texts that are neither blank nor words that mean a missing value."""
    text = pc.utf8_trim_whitespace(values).drop_null()
    missing = pc.or_(pc.equal(text, ""), pc.match_substring_regex(text, MISSING_WORD))
    return text.filter(pc.invert(missing))


def _all(text: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())
