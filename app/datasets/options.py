"""What a user may choose about the preparation of a dataset."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from app.datasets.cleaning import Cleaning
from app.datasets.frames import ColumnType, Role
from app.ml.data.spec import SPLITS, Frozen, ModalityKind, Resize, Split


class ImageOptions(Frozen):
    """The size and colours that every image is brought to, and how."""

    height: int | None = Field(default=None, ge=1, le=1024, description="Height in pixels; null: decided.")
    width: int | None = Field(default=None, ge=1, le=1024, description="Width in pixels; null: decided.")
    mode: Literal["gray", "rgb"] | None = Field(
        default=None, description="Colours; null: those of an array, of files gray when every image is gray, else rgb."
    )
    resize: Resize = Field(
        default="stretch",
        description="How images of another size are brought to this one: stretch scales each side on its own, pad both "
        "alike and leaves black around, crop both alike and cuts off what stands out.",
    )

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        if (self.height is None) != (self.width is None):
            msg = "give height and width, or neither"
            raise ValueError(msg)
        return self


class TextOptions(Frozen):
    """How a plain text file is cut into rows."""

    rows: Literal["auto", "lines", "paragraphs", "windows"] = Field(
        default="auto",
        description="A row is a line, a paragraph (blank lines part them), or a window of characters; auto: windows.",
    )
    window: int = Field(
        default=256,
        ge=2,
        le=65_536,
        description="Characters of a window; it repeats the last character of the one before.",
    )


class SeriesOptions(Frozen):
    """How the rows of a table in long form become series: the rows of one id, in the order of time."""

    id: str = Field(min_length=1, max_length=255, description="Column that says which series a row belongs to.")
    time: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Column of numbers or dates that orders the rows of a series; null: their order in the file.",
    )


class PrepareOptions(Frozen):
    """How a file becomes a dataset; everything has a default."""

    modality: ModalityKind | None = Field(default=None, description="Refuse the file unless it holds this.")
    columns: dict[str, Role] = Field(
        default_factory=dict, max_length=4096, description="Role of a column by its name; others are inferred."
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, max_length=4096, description="Type of a column by its name; others are inferred."
    )
    splits: dict[Split, float] = Field(
        default={"train": 0.8, "validation": 0.1, "test": 0.1},
        description="Share of each split; the shares add up to 1 and train has some.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Another seed gives another split.")
    missing: Literal["reject", "impute"] = Field(
        default="reject",
        description="What NaN, inf, 1e999, NA, null written out in a number column are: an error, or missing values.",
    )
    decimal: Literal["auto", "point", "comma"] = Field(
        default="auto",
        description="What parts the fraction of numbers in a CSV file; auto: a comma where it parts no fields, and "
        "columns hold numbers such as 14,23 and nothing else.",
    )
    duplicates: Literal["remove", "keep"] = Field(
        default="remove", description="What happens to rows whose inputs are the same, byte for byte."
    )
    image: ImageOptions | None = Field(default=None, description="Size and colours of images; null: decided.")
    text: TextOptions | None = Field(default=None, description="How plain text is cut into rows; null: decided.")
    series: SeriesOptions | None = Field(
        default=None, description="Columns that make series of a table in long form; null: it is not in long form."
    )
    unlabelled: Literal["remove", "keep"] = Field(
        default="remove", description="What happens to rows without any label; kept ones go to train."
    )
    unlabelled_value: str | None = Field(
        default=None, max_length=255, description="A value of targets that means no label, such as -1; null: none does."
    )
    label_separator: str = Field(
        default=";",
        min_length=1,
        max_length=10,
        description="What parts the labels in a column of text whose type is labels; alone in a cell: none of them.",
    )
    cleaning: Cleaning = Field(
        default="auto", description="Steps of cleaning, in order; auto: those that are safe for the kind of data."
    )
    same_splits_as: str | None = Field(
        default=None,
        pattern=r"^ds_[0-9a-f]{32}$",
        description="A prepared dataset: rows that are in it, too, keep the split they have there; null: none, or of a "
        "version the dataset it is made from.",
    )

    @model_validator(mode="after")
    def _one_word_on_duplicates(self) -> Self:
        if self.duplicates == "keep" and self.cleaning != "auto":
            msg = "leave duplicates out: the list of cleaning says what happens to them"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _shares(self) -> Self:
        shares = [self.splits.get(split, 0.0) for split in SPLITS]
        if not all(math.isfinite(share) and 0 <= share <= 1 for share in shares):
            msg = "each share of splits lies between 0 and 1"
            raise ValueError(msg)
        if abs(sum(shares) - 1) > 1e-6:  # noqa: PLR2004 - shares written with a few decimals
            msg = f"the shares of splits add up to 1, not {sum(shares):g}"
            raise ValueError(msg)
        if shares[0] <= 0:
            msg = "splits.train must be above 0: a model learns from it"
            raise ValueError(msg)
        return self
