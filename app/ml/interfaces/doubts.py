"""What is doubtful of rows that are read for an answer: each doubt belongs to an input and to a column or key of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.ml.errors import Location
from app.ml.spec import MAX_WARNING_ROWS, WarningCode, WarningItem

MAX_SHOWN = 40  # characters of a subject
MAX_SUBJECTS = 10  # columns and keys that one message names
# The subject and verb of one input and of several, what is doubtful, and the remedy.
_SENTENCES = {
    WarningCode.MISSING_VALUE: (
        ("input lacks", "inputs lack"),
        "values that no training row lacked; a number or date counts as the mean, a category or text as unknown",
        "send the values, or train on rows of which some lack them",
    ),
    WarningCode.UNKNOWN_CATEGORY: (
        ("input holds", "inputs hold"),
        "categories that training did not see; they count as unknown",
        "send one of the categories in the model's `signature`",
    ),
    WarningCode.UNKNOWN_TOKENS: (
        ("text consists", "texts consist"),
        "mostly of characters or words that training did not see",
        "train a model on such texts",
    ),
    WarningCode.OUT_OF_RANGE: (
        ("input holds", "inputs hold"),
        "values far outside of those that training saw",
        "check their units, or train on such values",
    ),
    WarningCode.TEXT_TRUNCATED: (
        ("text was", "texts were"),
        "read in part",
        "send shorter texts, or train with more `max_tokens`",
    ),
    WarningCode.SERIES_TRUNCATED: (
        ("series was", "series were"),
        "read in part",
        "send shorter series, or train with longer ones",
    ),
    WarningCode.IGNORED_KEYS: (
        ("input holds", "inputs hold"),
        "keys that are no inputs of the model; they were ignored",
        None,
    ),
    WarningCode.OTHER_KEY: (
        ("input was", "inputs were"),
        "read from a key that is not the training file's",
        "send the key of the training file; a CSV without a header loses its first row",
    ),
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """A doubt of the input `row`; `subject` is a column or key, `reason` may say more of it."""

    row: int
    subject: str
    reason: str
    harmless: bool

    @property
    def words(self) -> str:
        """The subject with its reason."""
        if not self.subject:
            return self.reason
        return f"{self.subject[:MAX_SHOWN]!r} ({self.reason})" if self.reason else repr(self.subject[:MAX_SHOWN])


@dataclass
class Doubts:
    """Gathers the doubts of a request while its inputs are decoded.

    `row` is the index of the input at hand in the inputs that are decoded together, and `first` that of the first of
    these in the request.
    """

    row: int = 0
    first: int = 0
    _by_code: dict[WarningCode, list[Doubt]] = field(default_factory=dict)

    def add(self, code: WarningCode, subject: str = "", reason: str = "", *, harmless: bool = False) -> None:
        """Doubt the input at hand; a harmless doubt is never refused."""
        self._by_code.setdefault(code, []).append(Doubt(self.first + self.row, subject, reason, harmless))

    @property
    def any(self) -> bool:
        """Whether anything is doubtful."""
        return bool(self._by_code)

    def each(self) -> Iterator[tuple[WarningCode, Doubt]]:
        """Yield every doubt, with its code."""
        return ((code, doubt) for code, doubts in self._by_code.items() for doubt in doubts)

    def warnings(self) -> list[WarningItem]:
        """Return one warning for each code, with the inputs that it is about."""
        return [_warning(code, self._by_code[code]) for code in _SENTENCES if code in self._by_code]

    def errors(self) -> list[tuple[Location, str]]:
        """Return the doubts as errors of their inputs and columns, for a request that refuses what is unknown."""
        doubts = [(code, doubt) for code, doubts in self._by_code.items() for doubt in doubts if not doubt.harmless]
        return [
            ((doubt.row, doubt.subject) if doubt.subject else (doubt.row,), doubt.reason or code.meaning)
            for code, doubt in sorted(doubts, key=lambda pair: pair[1].row)
        ]


def _warning(code: WarningCode, doubts: list[Doubt]) -> WarningItem:
    rows = sorted({doubt.row for doubt in doubts})
    first = {doubt.subject: doubt for doubt in reversed(doubts)}  # one reason a column is enough
    subjects = list(dict.fromkeys(first[doubt.subject].words for doubt in doubts if doubt.words))
    return warning_of(code, len(rows), rows, subjects)


def warning_of(code: WarningCode, count: int, rows: Sequence[int], subjects: Sequence[str]) -> WarningItem:
    """Return the warning about `count` inputs; `rows` are some of them, and `subjects` what is doubtful of them."""
    (singular, plural), sentence, remedy = _SENTENCES[code]
    named = ", ".join(subjects[:MAX_SUBJECTS])
    more = f" and {len(subjects) - MAX_SUBJECTS} more" if len(subjects) > MAX_SUBJECTS else ""
    verb = singular if count == 1 else plural
    return WarningItem(
        code=code,
        message=f"{count} {verb} {sentence}{f': {named}{more}' if named else ''}.",
        count=count,
        rows=tuple(rows[:MAX_WARNING_ROWS]),
        remedy=remedy,
    )
