"""Counts what was doubtful of all rows, or could not be read, in bounded memory and as JSON; it becomes warnings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.ml.interfaces.doubts import MAX_SUBJECTS, warning_of
from app.ml.spec import MAX_WARNING_ROWS, WarningCode, WarningItem

_MAX_NAMED = 1000
_CODES = {str(code): code for code in WarningCode}


@dataclass(slots=True)
class _Count:
    """How many rows, the first of them, and what is doubtful by column."""

    rows: int = 0
    first: list[int] = field(default_factory=list)
    subjects: dict[str, str] = field(default_factory=dict)


class Tally:
    """Counts of rows by code; `as_json` and `of_json` carry them from one attempt to the next."""

    def __init__(self) -> None:
        self._counts: dict[WarningCode, _Count] = {}

    def add(self, code: WarningCode, rows: Iterable[int], subjects: Mapping[str, str]) -> None:
        """Count rows by their numbers, each once for a code; `subjects` are words by column."""
        count = self._counts.setdefault(code, _Count())
        numbers = list(rows)
        count.rows += len(numbers)
        count.first += numbers[: MAX_WARNING_ROWS - len(count.first)]
        for subject, words in subjects.items():
            if len(count.subjects) < _MAX_NAMED:
                count.subjects.setdefault(subject, words)

    def count(self, code: WarningCode) -> int:
        """Return how many rows of a code were counted."""
        return self._counts[code].rows if code in self._counts else 0

    def warnings(self) -> list[WarningItem]:
        """Return a warning for each code."""
        return [_warning(code, count) for code, count in self._counts.items()]

    def as_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            code: {"rows": count.rows, "first": count.first, "subjects": count.subjects}
            for code, count in self._counts.items()
        }

    @classmethod
    def of_json(cls, counts: Mapping[str, Any]) -> "Tally":
        """Return the tally that had these counts."""
        tally = cls()
        tally._counts = {
            _CODES[code]: _Count(entry["rows"], list(entry["first"]), dict(entry["subjects"]))
            for code, entry in counts.items()
        }
        return tally


def _warning(code: WarningCode, count: _Count) -> WarningItem:
    subjects = [words for words in count.subjects.values() if words]
    if code != WarningCode.UNREADABLE_ROWS:
        return warning_of(code, count.rows, count.first, subjects)
    examples = "; ".join(subjects[:MAX_SUBJECTS])
    return WarningItem(
        code=code,
        message=f"{count.rows} {'row' if count.rows == 1 else 'rows'} could not be read: {examples}"[:1000],
        count=count.rows,
        rows=tuple(count.first),
        remedy="the results say why in the column `error`; correct these rows and send them again",
    )
