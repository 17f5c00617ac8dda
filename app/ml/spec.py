"""What learning needs to know of a prepared dataset, and what is said of it: decisions and warnings.

No torch, so that readers and planners stay light.
"""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ModalityKind = Literal["image", "table", "text", "series"]
DIMENSIONS: dict[ModalityKind, int] = {"image": 3, "table": 1, "text": 1, "series": 2}
ValueScale = Literal[1, 255]
Resize = Literal["stretch", "pad", "crop"]
DecimalSign = Literal["point", "comma"]
DatePart = Literal["month", "weekday", "hour", "day_of_month"]
Background = Literal["black", "white"]
PixelRange = tuple[float, float]
_NO_AND_YES = {("0", "1"), ("-1", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("absent", "present")}


class Frozen(BaseModel):
    """A value: unknown keys are refused and fields never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Decision(Frozen):
    """What a field that the user left open, or `"auto"`, became: a guess, with the evidence for it."""

    field: str
    value: Any
    reason: str = Field(description="The evidence.")
    option: str | None = Field(
        default=None, description='What to send to overrule it, such as `types={"zip": "category"}`; null: `field`.'
    )


class WarningCode(StrEnum):
    """Codes of all warnings; the values are part of the API. The text after each is listed in the reference."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Self:
        """Return a member whose value is its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    ROWS_LOST = "rows_lost", "More than a fifth of the rows of an upload were removed."
    UNLABELLED_REMOVED = "unlabelled_removed", "Rows without a label were removed."
    DUPLICATES_REMOVED = "duplicates_removed", "More than a few images or texts were removed as copies of others."
    FEW_ROWS = "few_rows", "Fewer than 20 rows are left to learn from."
    IMBALANCED = "imbalanced", "One class has more than nine tenths of the rows."
    RARE_CLASS = "rare_class", "A class has fewer than three rows."
    SIMILAR_CLASSES = "similar_classes", "Classes or categories differ only in case, blanks or the form of characters."
    SEPARATOR_UNUSED = "separator_unused", "The separator of labels occurs in no cell, so that each cell is one label."
    UNKNOWN_CLASS_NUMBER = "unknown_class_number", "A number stands for none of the classes that the file names."
    TEXT_LEFT_OUT = "text_left_out", "A table has a column of texts, which it does not learn from."
    UNREAD_NOTATION = (
        "unread_notation",
        "Dates, times or numbers in a notation that is not read were left out, or became categories.",
    )
    ROW_IDS = "row_ids", "A column numbers or names every row, so that nothing can be learned from it."
    NO_HEADER = "no_header", "The first line of a CSV file looks like a row rather than names of columns."
    REPEATED_HEADER = "repeated_header", "Lines of a CSV file hold the names of its columns again; they were left out."
    TOTAL_ROW = "total_row", "The last row of a CSV file is called a total, and was read like the others."
    STRAY_QUOTES = "stray_quotes", "Quotes of a CSV file enclose whole rows, or have no partner."
    SENTINEL_VALUES = "sentinel_values", "A number such as -999 far from all others may mean a missing value."
    AMBIGUOUS_NUMBERS = "ambiguous_numbers", "Numbers may mean others: 1.234 a thousand, 1.10 a version."
    MISSING_WORDS = "missing_words", "Words such as NA or unknown were read as missing values."
    MISSING_WORD_CLASSES = "missing_word_classes", "Classes of a target are words such as NA, which may mean no label."
    DIGITS_LOST = "digits_lost", "Whole numbers or times have more digits than a float64 holds."
    FILES_NOT_READ = "files_not_read", "Files in a zip that may hold rows or labels were not read."
    GUESSED_SPLITS = "guessed_splits", "Which of two folders is train and which is test was guessed by their sizes."
    LABELS_IN_NAMES = "labels_in_names", "Names of files without labels begin with a few words, which may be classes."
    UNREADABLE_FILES = "unreadable_files", "Images of a zip that cannot be opened were left out."
    FILES_JOINED = (
        "files_joined",
        "Tables of a zip were put below each other, and their names may say something of the rows.",
    )
    PERHAPS_SERIES = "perhaps_series", "An array was taken for images, and may hold series."
    CHANNELS_FIRST = (
        "channels_first",
        "An array of series has more channels than steps; perhaps they are the wrong way round.",
    )
    FEW_LEVELS = "few_levels", "Nearly all pixels of an image dataset share a few of 256 levels."
    HIDDEN_INK = "hidden_ink", "What transparent images show can hardly be seen on their background."
    GUESSED_NAMES = "guessed_names", "Names in a zip do not say how they are encoded, and are not UTF-8."
    TEXTS_CUT = (
        "texts_cut",
        "Texts are longer than the model's context; their rest was not learned.",
    )
    SIGNATURE_CHANGED = "signature_changed", "A model takes or answers other things than its name's version before."
    MISSING_VALUE = "missing_value", "An input lacks a value that no training row lacked; it was taken as missing."
    UNKNOWN_CATEGORY = "unknown_category", "An input holds a category that training did not see."
    UNKNOWN_TOKENS = "unknown_tokens", "Most of a text consists of characters or words that training did not see."
    OUT_OF_RANGE = "out_of_range", "An input holds a value far outside of those that training saw."
    TEXT_TRUNCATED = "text_truncated", "A text is longer than the model's context; only a part of it was read."
    SERIES_TRUNCATED = "series_truncated", "A series is longer than those of training; only its first steps were read."
    IGNORED_KEYS = "ignored_keys", "An input holds keys that are no inputs of the model; they were ignored."
    OTHER_KEY = "other_key", "An input holds its text or picture under a key that is not the training file's."
    # Batch predictions
    UNREADABLE_ROWS = "unreadable_rows", "Rows of a batch prediction could not be read; their `error` says why."
    COLUMNS_MISSING = "columns_missing", "A file to answer lacks columns of the model, which count as missing."
    ROWS_NOT_IN_DATASET = (
        "rows_not_in_dataset",
        "Preparation removed rows of the dataset's file, so that a batch prediction does not answer them.",
    )
    # Learning
    PUBLISHED_WEIGHTS = "published_weights", "A training starts from scratch, and published weights suit its rows."
    GUESSED_SCALING = "guessed_scaling", "Imported weights do not say how pixels were scaled when they were trained."
    CLASSES_DROPPED = "classes_dropped", "A pretrained model answers classes that the dataset lacks; a new head cannot."
    FAR_TARGETS = "far_targets", "Target values lie a hundred times as far from the median as the usual ones."
    MODEL_NOT_USED = "model_not_used", "A pretrained model was given, and a way without it answered better."
    UNKNOWN_TO_MODEL = "unknown_to_model", "Rows hold categories or tokens that the pretrained model has never seen."
    WORSE_THAN_UNTRAINED = (
        "worse_than_untrained",
        "A linear probe does worse on the features of a pretraining than on those of the network before it.",
    )
    NOT_TRACKED = "not_tracked", "A job could not be written to the tracking server that the service writes to."
    TRACKING_CHANGED = "tracking_changed", "A tracking server keeps names or values of a job in another form."
    EVALUATED_ON_TRAIN = "evaluated_on_train", "An evaluation measured rows that the model has learned from."


class WarningItem(Frozen):
    """What was lost or is doubtful, how much of it, and what to send to change it."""

    code: WarningCode
    message: str
    count: int = Field(default=0, ge=0, description="How many rows, values, columns or files it is about.")
    rows: tuple[int, ...] = Field(default=(), description="Some of the rows, by their 0-based numbers; at most 20.")
    remedy: str | None = Field(default=None, description="The request or option that changes it; null: nothing does.")


MAX_WARNING_ROWS = 20


class ColumnSpec(Frozen):
    """One input column of a table, or one channel of a series, in the order of `inputs.npy`."""

    name: str
    type: Literal["number", "category", "date", "text"]
    categories: tuple[str, ...] = Field(default=(), description="Code i means categories[i].")
    nullable: bool = Field(default=False, description="Whether a missing value is fine even where no row lacks it.")
    decimal: DecimalSign | None = Field(
        default=None, description="The sign before the fractions of the file's numbers; null: not known."
    )
    sign: str | None = Field(
        default=None, description="The currency or percent sign next to the file's numbers; null: they are plain."
    )
    parts: tuple[DatePart, ...] | None = Field(
        default=None, description="Parts of a date that vary in train rows; null: prepared before parts were learned."
    )


class TargetSpec(Frozen):
    """One thing that rows are labelled with."""

    name: str
    type: Literal["number", "category"]
    classes: tuple[str, ...] = Field(default=(), description="The classes in code order; empty for a number.")
    group: str | None = Field(default=None, description="The column of lists that this is one of the labels of.")

    @property
    def label(self) -> str:
        """Its name, without the column of lists before it."""
        return self.name if self.group is None else self.name.removeprefix(f"{self.group}.")

    @property
    def is_label(self) -> bool:
        """Whether its classes are no and yes, in this order, by whatever name."""
        return tuple(name.casefold() for name in self.classes) in _NO_AND_YES


class DataSpec(Frozen):
    """Shape and meaning of a prepared dataset.

    `shape` is one row's: `(height, width, channels)` for images, `(columns,)` for tables, `(steps, channels)` for
    series, where shorter ones end in NaN, and `(characters,)` of the longest for texts.
    """

    modality: ModalityKind
    shape: tuple[int, ...]
    value_scale: ValueScale = Field(default=1, description="What the pixels of the source were multiplied with.")
    resize: Resize = Field(default="stretch", description="How images of other sizes were brought to this one.")
    background: Background | None = Field(default=None, description="What lies under transparent images.")
    pixel_range: PixelRange | None = Field(
        default=None, description="Values of the source that became 0 and 255; null: value_scale says how."
    )
    columns: tuple[ColumnSpec, ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    left_out: tuple[str, ...] = Field(
        default=(), description="The columns of the file that are no inputs: targets, ids, constants, splits, groups."
    )
    input_names: tuple[str, ...] = Field(
        default=(), description="The columns of the file that became texts or series; empty for other rows."
    )
    missing_values: tuple[str, ...] = Field(
        default=(), description="What the user lists as meaning a missing value in every input column."
    )
    step_decimals: tuple[DecimalSign | None, ...] = Field(
        default=(),
        description="The sign before the fractions of each of `input_names`, where these are steps and differ.",
    )
    continuous: bool = Field(
        default=False,
        description="Whether texts are pieces of one long text, each repeating the last character of the one before.",
    )
    rows: dict[Split, int]
    labelled: dict[str, dict[Split, int]] = Field(
        default_factory=dict, description="Per target: how many rows of each split carry it."
    )
    usual_splits: bool = Field(
        default=False,
        description="Whether rows were drawn into splits one by one with the usual shares: neither the request, nor "
        "the file, nor groups or times said how.",
    )
    shards: tuple[int, ...] = Field(
        default=(),
        description="Rows of each shard of the inputs, each of one split, train first; empty: they are in one piece.",
    )
    class_rows: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="Per target of classes: how many train rows carry each, in code order."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = DIMENSIONS[self.modality]
        if len(self.shape) != expected or min(self.shape) < 1:
            msg = f"a row of modality {self.modality} has {expected} positive dimensions, not {self.shape}"
            raise ValueError(msg)
        if self.modality in {"table", "series"} and len(self.columns) != self.shape[-1]:
            msg = f"{len(self.columns)} columns are described and rows have {self.shape[-1]}"
            raise ValueError(msg)
        if self.modality != "image" and (self.value_scale, self.background, self.pixel_range) != (1, None, None):
            msg = "only the values of images are scaled"
            raise ValueError(msg)
        return self

    def target(self, name: str) -> TargetSpec | None:
        """Return the target called `name`, or None."""
        return next((target for target in self.targets if target.name == name), None)

    def labels_of(self, column: str) -> tuple[str, ...]:
        """Return the targets that a column of lists has become, by name; none where it is no such column."""
        return tuple(target.name for target in self.targets if target.group == column)
