"""What was found in an upload and what was done to it; JSON-able, no NaN inside."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from app.ml.data.spec import Frozen, ModalityKind, Split

Reason = Literal["corrupt", "duplicate", "near_duplicate", "conflicting_labels", "missing_target", "outlier", "length"]
Unit = Literal["rows", "values", "classes", "columns"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class SourceInfo(Frozen):
    """The uploaded file; `name` is what the user called it."""

    name: str
    format: str
    bytes: int


class Removal(Frozen):
    """A row that was left out: its 0-based number in the source, why, and what helps to find it."""

    row: int
    reason: Reason
    detail: str


class RowCounts(Frozen):
    """Rows in the source, rows kept, and how many each reason removed; read = kept + all removed."""

    read: int
    kept: int
    removed: dict[Reason, int]


class StepReport(Frozen):
    """What a step of cleaning found and did: how many rows, values, classes or columns, some of them, and why."""

    kind: str
    action: str
    affected: int
    unit: Unit
    decision: str
    examples: tuple[str, ...]


class LeakCount(Frozen):
    """How many rows of `split` are also, exactly or nearly, among the rows of `other_split` of the other side."""

    kind: Literal["exact", "near"]
    split: Split
    other_split: Split
    rows: int


class Leak(Frozen):
    """A row that is on both sides, each by its 0-based number in its source."""

    kind: Literal["exact", "near"]
    row: int
    split: Split
    other_row: int
    other_split: Split


class LeakReport(Frozen):
    """Rows that are on both sides of a comparison, at most 100 of them one by one, and what to do."""

    counts: tuple[LeakCount, ...]
    rows: tuple[Leak, ...]
    advice: str


class Decision(Frozen):
    """Something the user left open: what it became and why."""

    field: str
    value: str
    reason: str


@dataclass(slots=True)
class Notes:
    """Collects what the report will say."""

    decisions: list[Decision] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def decide(self, name: str, value: str, reason: str) -> None:
        """Remember a choice that was made for the user."""
        self.decisions.append(Decision(field=name, value=value, reason=reason))

    def notice(self, text: str) -> None:
        """Remember something the user should know."""
        self.notices.append(text)


class ColumnProfile(Frozen):
    """One column over the kept rows; numbers have moments, categories their most frequent values.

    The numbers of a date are days since 1970-01-01; `earliest` and `latest` are ISO 8601, null for other types.
    """

    name: str
    type: Literal["number", "category", "date"]
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


class TargetProfile(ColumnProfile):
    """A target; `classes` counts the rows of each class in each split."""

    classes: dict[str, dict[Split, int]]


class ImageProfile(Frozen):
    """The kept images: size and the mean and deviation of each channel, in 0 .. 255."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TextProfile(Frozen):
    """The kept texts: their lengths, and what they are written in."""

    characters: int
    words: int
    shortest: int
    mean: float
    longest: int
    distinct_characters: int
    non_ascii: float


class ChannelProfile(Frozen):
    """One channel over the steps of all kept series; `missing` counts those before a series ends."""

    name: str
    count: int
    missing: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None


class SeriesProfile(Frozen):
    """The kept series: their lengths in steps, and their channels."""

    shortest: int
    mean: float
    longest: int
    channels: tuple[ChannelProfile, ...]


class Report(Frozen):
    """The whole account of a preparation."""

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
    cleaning: tuple[StepReport, ...] = ()
    leaks: LeakReport | None = None
