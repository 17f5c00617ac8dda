"""The report of a preparation: what was found in a file and done to it, as JSON without NaN."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, get_args

from pydantic import Field

from app.ml.spec import MAX_WARNING_ROWS, Decision, Frozen, ModalityKind, Split, WarningCode, WarningItem

Reason = Literal["corrupt", "duplicate", "near_duplicate", "conflicting_labels", "missing_target", "outlier", "length"]
Unit = Literal["rows", "values", "classes", "columns"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class SourceInfo(Frozen):
    """The uploaded file; `name` is the user's name for it."""

    name: str
    format: str
    bytes: int


class Removal(Frozen):
    """A row that was removed: its 0-based number in the source, the reason, and details that help to find it."""

    row: int
    reason: Reason
    detail: str


class RowCounts(Frozen):
    """Rows in the source, rows kept, and rows removed by reason; read = kept + all removed."""

    read: int
    kept: int
    removed: dict[Reason, int]


class StepReport(Frozen):
    """What a cleaning step found and did: how many rows, values, classes or columns, why, and some examples."""

    kind: str
    action: str
    affected: int
    unit: Unit
    decision: str
    examples: tuple[str, ...]


class LeakCount(Frozen):
    """Number of rows of `split` that are, exactly or nearly, among the rows of `other_split` of the compared data."""

    kind: Literal["exact", "near"]
    split: Split
    other_split: Split
    rows: int


class Leak(Frozen):
    """A row and its twin in the compared data, by their 0-based numbers in their sources."""

    kind: Literal["exact", "near"]
    row: int
    split: Split
    other_row: int
    other_split: Split


class LeakReport(Frozen):
    """Counts of leaking rows, at most 100 of the rows, and advice."""

    counts: tuple[LeakCount, ...]
    rows: tuple[Leak, ...]
    advice: str


@dataclass(slots=True)
class Notes:
    """Collects decisions, notices and warnings for the report.

    A decision is a guess, a notice says what was done as documented, and a warning what was lost or is doubtful.
    """

    decisions: list[Decision] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    warnings: list[WarningItem] = field(default_factory=list)

    def decide(self, name: str, value: str, reason: str, option: str | None = None) -> None:
        """Record the value of a field that the user left open, the evidence, and the `option` that overrules it."""
        self.decisions.append(Decision(field=name, value=value, reason=reason, option=option))

    def notice(self, text: str) -> None:
        """Record a sentence that the user should read."""
        self.notices.append(text)

    def warn(
        self, code: WarningCode, message: str, *, count: int = 0, rows: Iterable[int] = (), remedy: str | None = None
    ) -> None:
        """Record what was lost or is doubtful; of `rows`, 0-based numbers in the source, the first 20 are listed."""
        listed = tuple(int(row) for row in islice(rows, MAX_WARNING_ROWS))
        self.warnings.append(WarningItem(code=code, message=message, count=int(count), rows=listed, remedy=remedy))

    def add(self, later: "Notes") -> None:
        """Add what was recorded elsewhere."""
        self.decisions += later.decisions
        self.notices += later.notices
        self.warnings += later.warnings


class ColumnProfile(Frozen):
    """Statistics of a column over the kept rows; numbers have moments, categories their most frequent values.

    The numbers of a date are days since 1970-01-01; `earliest` and `latest` are ISO 8601, null for other types.
    """

    name: str
    type: Literal["number", "category", "date", "text"]
    count: int
    missing: int
    distinct: int | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    top: dict[str, int]
    earliest: str | None
    latest: str | None
    histogram: tuple[int, ...] = Field(
        (),
        description="Of numbers and dates: how many lie in each of 20 equal parts of min to max; empty for others, and "
        "where the report is older than this field.",
    )


class TargetProfile(ColumnProfile):
    """Statistics of a target; `classes` counts the rows of each class in each split."""

    classes: dict[str, dict[Split, int]]


class ImageProfile(Frozen):
    """Size of the kept images, and mean and standard deviation of each channel, in 0 .. 255."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TextProfile(Frozen):
    """Lengths and characters of the kept texts; `non_ascii` is a share of the characters."""

    characters: int
    words: int
    shortest: int
    mean: float
    longest: int
    distinct_characters: int
    non_ascii: float


class ChannelProfile(Frozen):
    """Statistics of a channel over all kept series; `missing` does not count steps after the end of a series."""

    name: str
    count: int
    missing: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None


class SeriesProfile(Frozen):
    """Lengths in steps of the kept series, and statistics of their channels."""

    shortest: int
    mean: float
    longest: int
    channels: tuple[ChannelProfile, ...]


class Report(Frozen):
    """The report of a preparation."""

    source: SourceInfo
    modality: ModalityKind
    rows: RowCounts
    removals: tuple[Removal, ...]
    splits: dict[Split, int]
    columns: tuple[ColumnProfile, ...]
    targets: tuple[TargetProfile, ...]
    image: ImageProfile | None
    text: TextProfile | None
    series: SeriesProfile | None
    decisions: tuple[Decision, ...]
    notices: tuple[str, ...]
    warnings: tuple[WarningItem, ...] = ()
    cleaning: tuple[StepReport, ...] = ()
    leaks: LeakReport | None = None
