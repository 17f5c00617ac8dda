"""Errors of uploaded datasets, in words for the person who uploaded them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Codes of all faults of a dataset; the values are part of the API."""

    SOURCE_REFUSED = "source_refused"
    SOURCE_CHANGED = "source_changed"
    EMPTY_DATASET = "empty_dataset"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_LARGE = "too_large"
    BAD_ARCHIVE = "bad_archive"
    BAD_NAME = "bad_name"
    TOO_CORRUPT = "too_corrupt"
    ENCRYPTED = "encrypted"
    BAD_ARRAY = "bad_array"
    BAD_IMAGE = "bad_image"
    MIXED_LAYOUT = "mixed_layout"
    BAD_PARQUET = "bad_parquet"
    UNSUPPORTED_COLUMN = "unsupported_column"
    ENCODING = "encoding"
    BAD_CSV = "bad_csv"
    RAGGED_ROWS = "ragged_rows"
    DUPLICATE_COLUMNS = "duplicate_columns"
    UNKNOWN_COLUMN = "unknown_column"
    WRONG_MODALITY = "wrong_modality"
    BAD_ROLES = "bad_roles"
    BAD_SPLIT = "bad_split"
    BAD_GROUP = "bad_group"
    BAD_OPTION = "bad_option"
    MIXED_TYPES = "mixed_types"
    BAD_NUMBER = "bad_number"
    BAD_DATE = "bad_date"
    BAD_JSON = "bad_json"
    BAD_ROW = "bad_row"
    BAD_TEXT = "bad_text"
    BAD_SERIES = "bad_series"
    BAD_TIME = "bad_time"
    TEXT_COLUMN = "text_column"
    EMPTY_COLUMN = "empty_column"
    NO_INPUTS = "no_inputs"
    BAD_TARGET = "bad_target"
    ONE_CLASS = "one_class"
    CONSTANT_TARGET = "constant_target"
    TOO_MANY_CLASSES = "too_many_classes"


@dataclass(frozen=True, slots=True)
class RowError:
    """One fault: where it is (`loc`), what to do (`msg`) and, if it has one, its 0-based row in the source."""

    loc: tuple[str, ...]
    msg: str
    row: int | None = None


class DatasetError(Exception):
    """The user's file or options cannot become a dataset; `errors` has at least one item.

    `code` is stable and documented; the message says what to change.
    """

    def __init__(self, code: Code, message: str, errors: Sequence[RowError] = ()) -> None:
        super().__init__(code, message, tuple(errors))
        self.code = code
        self.message = message
        self.errors = tuple(errors) or (RowError(loc=("file",), msg=message),)

    def __str__(self) -> str:
        return self.message
