"""Infers the types of columns: numbers, categories, dates, or nothing that a model can use."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns.codes import judge_codes, merge_whole_numbers
from app.datasets.columns.date_parsing import (
    DATE_NOTATION,
    FIRST,
    LAST,
    ParsedDates,
    look_like_calendar_days,
    parse_dates,
    rows_with_cut_times,
    to_iso,
)
from app.datasets.columns.free_text import MAX_CATEGORIES, MAX_CERTAIN_CATEGORIES, MAX_NAME, has_too_many_values
from app.datasets.columns.names import is_called_postal
from app.datasets.columns.number_parsing import ParsedNumbers, looks_like_other_number_notation, parse_numbers
from app.datasets.columns.section_numbers import find_section_numbers
from app.datasets.columns.truths import are_mixed_truths, merge_truths
from app.datasets.columns.unread_notations import NUMBER_NOTATION, unread_notation
from app.datasets.columns.values import Categories, Dates, Numbers, Unusable, Values
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import (
    Bools,
    Column,
    ColumnType,
    DateColumn,
    Floats,
    Ints,
    LabelsColumn,
    NumberColumn,
    TextColumn,
)
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.report import Notes
from app.ml.spec import MAX_WARNING_ROWS, WarningCode

FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_EXACT_INTEGER = 2.0**53  # of a float64
MIN_NUMBER_SHARE = 0.8
MAX_ROW_ERRORS = 20
SAMPLED_ROWS = 10_000
MAX_SHOWN_WORDS = 5
TEXT_HINT = 'give the modality "text" to learn from it alone'
INTEGER = re.compile(r"-?(0|[1-9]\d{0,15})")


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Reads columns as numbers, categories or dates, under the user's options and the service's limits."""

    options: PrepareOptions
    limits: Limits
    rows: Ints
    notes: Notes

    def read(self, column: Column, declared: ColumnType | None, *, dates: bool = False, codes: bool = True) -> Values:
        """Return the values of `column` by its type, which is `declared` by the user or the file, or inferred.

        With `dates`, a text column of ISO 8601 dates is read as dates although none declared it; without `codes`,
        digits are numbers whatever they look like.

        Raises:
            DatasetError: mixed_types, bad_number, bad_date, too_many_classes; each names rows of the source.
        """
        if isinstance(column, LabelsColumn) or declared == "labels":
            return Unusable("it holds lists of labels, which only a target does; give it that role")
        if declared == "text":  # of a target, a group or a split, which know categories
            declared = "category"
        if isinstance(column, DateColumn | NumberColumn):
            return self._typed_column(column, declared)
        if declared == "date" or (dates and declared is None):
            parsed = self._dates(column, declared)
            if parsed is not None:
                return parsed
        if declared is None and codes and (self._are_codes(column) or self._are_sections(column)):
            return self._categories(column, declared, codes=True)
        names = declared is None and column.typed and not self._are_written_numbers(column)
        if names or declared == "category":
            return self._categories(column, declared)
        return self._number_text(column, parse_numbers(column.values), declared)

    def _are_codes(self, column: TextColumn) -> bool:
        """Return whether digits are codes, and say so where that was in doubt."""
        judged = judge_codes(column)
        if judged is None:
            return False
        kind, reason = judged
        self._decide(column.name, kind, reason, "number" if kind == "category" else "category")
        return kind == "category"

    def _are_sections(self, column: TextColumn) -> bool:
        """Return whether values such as 1.10 are versions or the like, and say so; warn where they may be fractions."""
        sections = find_section_numbers(column)
        if sections is None:
            return False
        if sections.certain:
            self._decide(column.name, "category", sections.reason, "number")
            return True
        message = f"column {column.name} was read as numbers, but {sections.reason}; perhaps they are versions"
        remedy = f'types={{"{column.name}": "category"}} keeps them apart; "number" says that they are numbers'
        self.notes.warn(WarningCode.AMBIGUOUS_NUMBERS, message, count=1, remedy=remedy)
        return False

    def _are_written_numbers(self, column: TextColumn) -> bool:
        """Return whether text of a file with types is numbers all the same: not where few whole ones may be names."""
        if parse_numbers(column.values.slice(0, SAMPLED_ROWS)).foreign.any():
            return False
        parsed = parse_numbers(column.values)
        if parsed.foreign.any() or not np.isfinite(parsed.values).any():
            return False
        distinct = pc.count_distinct(column.values).as_py()
        if parsed.whole and distinct <= MAX_CERTAIN_CATEGORIES:
            reason = f"its {distinct} different whole numbers are written as text"
            self._decide(column.name, "category", reason, "number")
            return False
        self._decide(column.name, "number", "every value is a number that is written as text", "category")
        self.notes.notice(f"column {column.name}: its numbers are written as text, and were read as numbers")
        return True

    def _decide(self, name: str, kind: ColumnType, reason: str, other: ColumnType) -> None:
        """Record the type that a column was given, and how to give it the `other` one."""
        self.notes.decide(f"types.{name}", kind, reason, option=f'types={{"{name}": "{other}"}}')

    def _typed_column(self, column: DateColumn | NumberColumn, declared: ColumnType | None) -> Values:
        if isinstance(column, DateColumn):
            return self._date_column(column, declared)
        return self._number_column(column, declared)

    def _date_column(self, column: DateColumn, declared: ColumnType | None) -> Values:
        if declared == "number":
            return Numbers(column.values)
        if declared == "category":
            return self.as_categories(column.name, Numbers(column.values), to_iso)
        self._warn_of_cut_times(column.name, rows_with_cut_times(column.values))
        return self._to_dates(column.name, column.values)

    def _dates(self, column: TextColumn, declared: ColumnType | None) -> Values | None:
        """Return text as dates; None where it does not look like dates and nobody declared them."""
        if declared == "date" and not (numbers := parse_numbers(column.values)).foreign.any():
            return self._to_dates(column.name, numbers.values)
        parsed = parse_dates(column.values, force=declared == "date")
        if parsed is None:
            return None
        if declared == "date" and parsed.foreign.any():
            raise self._bad_dates(column, parsed)
        if np.isnan(parsed.days).all():
            return Unusable("it holds no value")
        if parsed.foreign.any():
            self._warn_of_other_dates(column.name, np.flatnonzero(parsed.foreign))
            return None
        self._check_missing_words(column, parsed.words, "dates")
        if declared is None:
            self.notes.decide(
                f"types.{column.name}", "date", "every value is an ISO 8601 date; types can say otherwise"
            )
        if 0 < parsed.zoned < parsed.present:
            self.notes.notice(f"column {column.name}: times without a zone were taken as UTC, as some have one")
        self._warn_of_cut_times(column.name, parsed.cut)
        return Dates(parsed.days)

    def _warn_of_cut_times(self, name: str, positions: Ints) -> None:
        if len(positions):
            message = (
                f"column {name}: {len(positions)} times before 1790 or after 2149 were rounded to 0.1 milliseconds"
            )
            rows = self.rows[positions[:MAX_WARNING_ROWS]]
            remedy = "write their fractions of a second into a column of their own, if they matter"
            self.notes.warn(WarningCode.DIGITS_LOST, message, count=len(positions), rows=rows, remedy=remedy)

    def _warn_of_other_dates(self, name: str, positions: Ints) -> None:
        message = f"column {name} looks like dates, but {len(positions)} values are no ISO 8601 dates: it stays text"
        remedy = f'correct or empty them: {DATE_NOTATION}; types={{"{name}": "category"}} says that this is meant'
        rows = self.rows[positions]
        self.notes.warn(WarningCode.UNREAD_NOTATION, message, count=len(positions), rows=rows, remedy=remedy)

    def _bad_dates(self, column: TextColumn, parsed: ParsedDates) -> DatasetError:
        message = f"column {column.name} is declared to hold dates, but {int(parsed.foreign.sum())} rows hold none"
        what = "is no date; write it as 2024-02-29 or 2024-02-29T13:45"
        errors = self._row_errors(column.name, parsed.foreign, column.values, what)
        return DatasetError(Code.BAD_DATE, f"{message}; write them as 2024-02-29 or 2024-02-29T13:45", errors)

    def _number_column(self, column: NumberColumn, declared: ColumnType | None) -> Values:
        bad = np.abs(column.values) > FLOAT32_MAX
        values = self._without_bad_numbers(column.name, column.values, bad, column.values)
        if np.isnan(values).all():
            return Unusable("it holds no value")
        if declared == "date":
            return self._to_dates(column.name, values)
        if declared == "category":
            return self.as_categories(column.name, Numbers(values, column.whole, column.boolean))
        if declared is None and column.whole and is_called_postal(column.name):
            return self._postal_codes(column.name, values)
        if declared is None:
            self._warn_of_calendar_days(column.name, values)
        return self._numbers(column.name, values, whole=column.whole, boolean=column.boolean)

    def _postal_codes(self, name: str, values: Floats) -> Values:
        self._decide(name, "category", "its name says that it holds postal codes", "number")
        distinct = len(np.unique(values[~np.isnan(values)]))
        if has_too_many_values(distinct, int((~np.isnan(values)).sum())):
            return _too_many_codes(name, distinct)
        return self.as_categories(name, Numbers(values, whole=True))

    def _to_dates(self, name: str, values: Floats) -> Values:
        """Return numbers that were declared to be dates as days since 1970-01-01."""
        if np.isnan(values).all():
            return Unusable("it holds no value")
        bad = (values < FIRST) | (values > LAST)
        if bad.any():
            what = "is no number of days since 1970-01-01 between the years 1 and 9999; write ISO 8601 dates"
            message = f"column {name} is declared to hold dates, but {int(bad.sum())} of its numbers are no days"
            raise DatasetError(Code.BAD_DATE, message, self._row_errors(name, bad, values, what))
        return Dates(values)

    def _number_text(self, column: TextColumn, parsed: ParsedNumbers, declared: ColumnType | None) -> Values:
        foreign = int(parsed.foreign.sum())
        numbers = int(np.isfinite(parsed.values).sum())
        if foreign and declared is None and are_mixed_truths(pc.utf8_trim_whitespace(column.values)):
            return self._categories(column, declared)
        if foreign and (declared == "number" or numbers >= MIN_NUMBER_SHARE * (numbers + foreign)):
            raise self._mixed_types(column, parsed.foreign, declared)
        if foreign:
            return self._categories(column, declared)
        if not numbers and declared is None:
            several = pc.count_distinct(pc.utf8_lower(column.values.filter(pa.array(parsed.words)))).as_py() > 1
            return self._categories(column, declared) if several else Unusable("it holds no value")
        self._check_missing_words(column, parsed.words, "numbers")
        bad = parsed.infinite | (np.abs(parsed.values) > FLOAT32_MAX)
        values = self._without_bad_numbers(column.name, parsed.values, bad, column.values)
        if declared is None and parsed.whole:
            self._warn_of_calendar_days(column.name, values)
        return self._numbers(column.name, values, whole=parsed.whole)

    def _check_missing_words(self, column: TextColumn, words: Bools, kind: str) -> None:
        """Warn of words that were read as missing values, or refuse them by row where the user chose that."""
        count = int(words.sum())
        if not count:
            return
        name = column.name
        counts = pc.value_counts(pc.utf8_trim_whitespace(column.values.filter(pa.array(words)))).to_pylist()
        shown = ", ".join(f"{item['values']!r} {item['counts']}" for item in counts[:MAX_SHOWN_WORDS])
        if self.options.missing == "reject":
            hint = 'correct it, leave the field empty, or set missing to "auto"'
            raise DatasetError(
                Code.BAD_NUMBER if kind == "numbers" else Code.BAD_DATE,
                f"column {name} of {kind} holds {count} words: {shown}; {hint}",
                self._row_errors(name, words, column.values, f"stands among {kind}; {hint}"),
            )
        self.notes.warn(
            WarningCode.MISSING_WORDS,
            f"column {name} of {kind}: {count} words were read as missing values: {shown}",
            count=count,
            rows=self.rows[np.flatnonzero(words)[:MAX_WARNING_ROWS]],
            remedy=f'missing="reject" refuses them; types={{"{name}": "category"}} makes them categories',
        )

    def _numbers(self, name: str, values: Floats, *, whole: bool, boolean: bool = False) -> Values:
        if np.isnan(values).all():
            return Unusable("it holds no number")
        rounded = np.flatnonzero(np.abs(values) >= MAX_EXACT_INTEGER) if whole else ()
        if len(rounded):
            message = f"column {name}: {len(rounded)} whole numbers from 2^53 on were rounded to what a float64 holds"
            remedy = f'columns = {{"{name}": "ignored"}} leaves it out, if it is an id'
            rows = self.rows[rounded]
            self.notes.warn(WarningCode.DIGITS_LOST, message, count=len(rounded), rows=rows, remedy=remedy)
        return Numbers(values, whole, boolean)

    def _warn_of_calendar_days(self, name: str, values: Floats) -> None:
        """Warn of numbers such as 20240229, whose differences are no spans of time."""
        if look_like_calendar_days(values):
            message = f"column {name} was read as numbers, but they look like days, such as {np.nanmin(values):.0f}"
            remedy = f'{DATE_NOTATION}; types={{"{name}": "number"}} says that this is meant'
            self.notes.warn(WarningCode.UNREAD_NOTATION, message, count=1, remedy=remedy)

    def _without_bad_numbers(self, name: str, values: Floats, bad: Bools, source: Any) -> Floats:
        """Return `values` (N,) with bad ones missing, or refuse these by row unless the user chose missing = impute."""
        if not bad.any():
            return values
        if self.options.missing != "impute":
            hint = 'correct it, leave the field empty, or set missing to "impute"'
            raise DatasetError(
                Code.BAD_NUMBER,
                f"column {name} holds {int(bad.sum())} values that are no finite numbers; {hint}",
                self._row_errors(name, bad, source, f"is no finite number that a model can use; {hint}"),
            )
        self.notes.notice(f"column {name}: {int(bad.sum())} values that are no finite numbers count as missing")
        return np.where(bad, np.nan, values)

    def _mixed_types(self, column: TextColumn, foreign: Bools, declared: ColumnType | None) -> DatasetError:
        why = "is declared to hold numbers" if declared else "holds numbers in nearly all rows"
        message = f"column {column.name} {why}, but {int(foreign.sum())} rows hold text; correct them"
        if looks_like_other_number_notation(column.values.filter(pa.array(foreign))):
            message += f" ({NUMBER_NOTATION})"
        if foreign[0] and foreign.sum() == 1:
            message += "; row 0 may belong to the header, as a line of units: delete it then"
        words = pc.unique(pc.utf8_trim_whitespace(column.values.filter(pa.array(foreign)))).to_pylist()
        if len(words) <= MAX_SHOWN_WORDS and len(words) < foreign.sum():
            listed = json.dumps(words, ensure_ascii=False)
            message += f", or send missing_values={listed} (of a target unlabelled_value) if they mean missing ones"
        message += f', or declare types {{"{column.name}": "category"}}'
        return DatasetError(
            Code.MIXED_TYPES, message, self._row_errors(column.name, foreign, column.values, "is no number; correct it")
        )

    def _row_errors(self, name: str, bad: Bools, source: Any, what: str) -> list[RowError]:
        return [
            RowError((name,), f"{_shown(source[int(i)])} {what}", int(self.rows[i]))
            for i in np.flatnonzero(bad)[:MAX_ROW_ERRORS]
        ]

    def _categories(self, column: TextColumn, declared: ColumnType | None, *, codes: bool = False) -> Values:
        text = merge_truths(column.name, self._category_texts(column), self.notes, declared=declared is not None)
        names = pc.unique(text).drop_null().to_pylist()
        present = len(text) - text.null_count
        if not names:
            return Unusable("it holds no value")
        if declared is None and has_too_many_values(len(names), present):
            return _too_many_codes(column.name, len(names)) if codes else _too_many_texts(len(names), column)
        self._check_count(column.name, len(names))
        if max(map(len, names)) > MAX_NAME or any("\0" in name for name in names):
            return Unusable(f"it holds texts longer than {MAX_NAME} characters, or with NUL inside", is_text=True)
        names = _sorted_names(names)
        if declared is None and not codes:
            notation = unread_notation(pa.array(names), numbers=not column.typed)
            if notation is not None:
                self.notes.notice(f"column {column.name} became a category, but {notation}")
        positions = pc.index_in(text, pa.array(names, pa.string()))
        return Categories(np.array(positions.to_numpy(zero_copy_only=False), dtype=np.float64), tuple(names))

    def _category_texts(self, column: TextColumn) -> Any:
        """Return the texts with blank ones as missing; where the file has no types, also without blanks around them."""
        trimmed = pc.utf8_trim_whitespace(column.values)
        blank = pc.equal(trimmed, "")
        unstripped = pc.if_else(blank, pa.scalar(None, pa.string()), column.values)
        if column.typed:
            return unstripped
        text = pc.if_else(blank, pa.scalar(None, pa.string()), trimmed)
        merged = pc.count_distinct(unstripped).as_py() - pc.count_distinct(text).as_py()
        if merged:
            self.notes.notice(f"column {column.name}: {merged} spellings that differ only in blanks were merged")
        return merge_whole_numbers(column.name, text, self.notes)

    def as_categories(self, name: str, numbers: Numbers, name_of: Callable[[float], str] | None = None) -> Categories:
        """Return numbers as categories in the order of their values, which are named by `name_of`."""
        present = ~np.isnan(numbers.values)
        distinct = np.unique(numbers.values[present])
        self._check_count(name, len(distinct))
        codes = np.full(len(present), np.nan)
        codes[present] = np.searchsorted(distinct, numbers.values[present])
        if numbers.boolean:
            return Categories(codes, tuple("true" if value else "false" for value in distinct))
        return Categories(codes, tuple(map(name_of or _number_name, map(float, distinct))))

    def _check_count(self, name: str, count: int) -> None:
        if count > self.limits.classes:
            message = f"column {name} has {count} different values; a category has at most {self.limits.classes}"
            raise DatasetError(Code.TOO_MANY_CLASSES, message, [RowError((name,), message)])


def _too_many_codes(name: str, distinct: int) -> Unusable:
    reason = f"it holds {distinct} different codes; only categories of up to {MAX_CATEGORIES} are used"
    return Unusable(reason, f'types={{"{name}": "number"}} reads them as numbers, "category" as categories')


def _too_many_texts(distinct: int, column: TextColumn) -> Unusable:
    reason = f"it is text with {distinct} different values; only categories of up to {MAX_CATEGORIES} are used"
    notation = unread_notation(column.values)
    reason = reason if notation is None else f"{reason} ({notation})"
    return Unusable(reason, TEXT_HINT, notation, is_text=notation is None)


def _shown(value: Any) -> str:
    return repr(value.as_py() if isinstance(value, pa.Scalar) else float(value))[:60]


def _number_name(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _sorted_names(names: list[str]) -> list[str]:
    """Sort names; integers by their value, so that class 10 follows class 9."""
    if all(INTEGER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
