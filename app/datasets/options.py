"""What a user may choose about the preparation of a dataset."""

import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from app.datasets.cleaning import Cleaning
from app.datasets.frames import ColumnType, Role
from app.ml.fields import Auto
from app.ml.spec import SPLITS, Background, Frozen, ModalityKind, PixelRange, Resize, Split

Decimal: TypeAlias = Literal["auto", "point", "comma"]
Name: TypeAlias = Annotated[str, Field(max_length=255)]
Encoding: TypeAlias = Literal[
    "auto",
    "utf-8",
    "utf-16",
    "cp1252",
    "latin-1",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp437",
    "cp850",
    "cp866",
    "koi8-r",
    "mac-roman",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "big5",
]

NameEncoding: TypeAlias = Literal[
    "auto",
    "utf-8",
    "cp437",
    "cp850",
    "cp852",
    "cp866",
    "cp932",
    "cp936",
    "cp949",
    "cp950",
    "cp1250",
    "cp1251",
    "cp1252",
]

FolderLevel: TypeAlias = Literal["split", "label", "ignored"]


class ImageOptions(Frozen):
    """Size and colours of all images, and how they are resized."""

    height: int | None = Field(default=None, ge=1, le=1024, description="Height in pixels; null: chosen by the images.")
    width: int | None = Field(default=None, ge=1, le=1024, description="Width in pixels; null: chosen by the images.")
    mode: Literal["gray", "rgb"] | None = Field(
        default=None,
        description="Colours; null: as in an array; of image files gray where all images are gray, else rgb.",
    )
    resize: Resize = Field(
        default="stretch",
        description="How images of another size are resized: stretch scales each side on its own; pad scales both "
        "alike and adds black borders; crop scales both alike and cuts off the edges.",
    )
    background: Background | None = Field(
        default=None, description="What is laid under transparent images; null: what shows them, chosen for all alike."
    )
    pixel_range: PixelRange | None = Field(
        default=None,
        description="Values of 16-bit images, or of an array, that become black and white; others are cut off. Null: "
        "all that 16 bits hold where the images need them, else the smallest and the largest value of all images.",
    )

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        low, high = self.pixel_range or (0, 1)
        if not (low < high and math.isfinite(high - low) and math.isfinite(255 / (high - low))):
            msg = "pixel_range is two numbers, the smaller one first"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if (self.height is None) != (self.width is None):
            msg = "give height and width, or neither"
            raise ValueError(msg)
        return self


_USUAL_SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


class TextOptions(Frozen):
    """How a plain text file is cut into rows."""

    rows: Literal["auto", "lines", "paragraphs", "windows"] = Field(
        default="auto",
        description="A row is a line, a paragraph (between blank lines), or a window of characters; auto: windows.",
    )
    window: int = Field(
        default=256,
        ge=2,
        le=65_536,
        description="Characters of a window, which begins with the last character of the previous one.",
    )


class SeriesOptions(Frozen):
    """How the rows of a table in long form become series: the rows with one id, ordered by time."""

    id: str = Field(min_length=1, max_length=255, description="Column with the id of each row's series.")
    time: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Column of numbers or dates that orders the rows of a series; null: by their order in the file.",
    )


class PrepareOptions(Frozen):
    """How a file becomes a dataset; every option has a default."""

    modality: ModalityKind | None = Field(
        default=None, description="Kind of data; a file of another kind is refused. Null: by its content."
    )
    columns: dict[str, Role] = Field(
        default_factory=dict, max_length=4096, description="Role of a column by its name; others are inferred."
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, max_length=4096, description="Type of a column by its name; others are inferred."
    )
    splits: Auto[dict[Split, float]] = Field(
        default="auto",
        description="Share of each split; the shares add up to 1 and train has some. auto: 0.8, 0.1 and 0.1, and where "
        "heads are solved for and labels few, they learn from all of them once the test rows have measured them.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Another seed gives another split.")
    missing: Literal["auto", "impute", "reject"] = Field(
        default="auto",
        description="What NaN, NA, null, ? or unknown in a column of numbers or dates are: missing values (auto, "
        "impute) or errors (reject). Infinite numbers (inf, 1e999) are missing values with impute, else errors.",
    )
    missing_values: Annotated[tuple[Name, ...], Field(max_length=100)] = Field(
        default=(),
        description="Values that mean a missing one in inputs of tables and series, such as -999 or ?; [] for none.",
    )
    decimal: Decimal | dict[str, Decimal] = Field(
        default="auto",
        description="Decimal separator of the numbers in a CSV file, or of columns by name; the other sign groups "
        "thousands. Auto: decided for each column by its values, then by those of other columns.",
    )
    header: Literal["auto", "first", "none"] = Field(
        default="auto",
        description="Where a CSV file has the names of its columns: in its first line, or nowhere (they are called x0, "
        "x1 ...). Auto: none where the first line is like the rows below it; lines before the table are skipped.",
    )
    multiline: Literal["auto", "yes", "no"] = Field(
        default="auto",
        description="Whether a quoted field of a CSV file may hold line ends; no: each line is a row, and a quote "
        "without a partner in its line is part of the text. Auto: no where quotes would swallow whole rows.",
    )
    encoding: Encoding = Field(
        default="auto", description="Encoding of a text file; auto: UTF-8, or UTF-16 by its byte order mark."
    )
    duplicates: Literal["auto", "remove", "keep"] = Field(
        default="auto",
        description="What happens to rows whose inputs are equal, byte for byte; auto: in tables and series they are "
        "observations and kept, as are texts of which most repeat others; else they are removed.",
    )
    folders: tuple[FolderLevel, ...] | None = Field(
        default=None,
        max_length=8,
        description="What the folders of a zip are, the outermost first: splits, labels, or nothing to learn; null: "
        "inferred, and listed in decisions.",
    )
    name_encoding: NameEncoding = Field(
        default="auto",
        description="Encoding of the names in a zip that do not say theirs; auto: UTF-8 where they are valid UTF-8, "
        "else a guess, with a warning.",
    )
    image: ImageOptions | None = Field(
        default=None, description="Size and colours of images; null: chosen by the images."
    )
    text: TextOptions | None = Field(default=None, description="How plain text is cut into rows; null: into windows.")
    series: SeriesOptions | None = Field(
        default=None,
        description="Columns of a table in long form that make series of its rows; null: it is not in long form.",
    )
    unlabelled: Literal["auto", "remove", "keep"] = Field(
        default="auto",
        description="What happens to rows without any label; those that are kept go to train. auto: they are kept "
        "where their folder is called unlabelled or the like, or where most rows lack a label, else removed.",
    )
    unlabelled_value: Name | Annotated[tuple[Name, ...], Field(max_length=100)] | None = Field(
        default=None,
        description="Value, or list of values, of targets that mean no label, such as -1; null: no value does.",
    )
    label_separator: str = Field(
        default=";",
        min_length=1,
        max_length=10,
        description="Separator of the labels in a text column of type labels; a cell with it alone has no labels.",
    )
    cleaning: Cleaning = Field(
        default="auto", description="Cleaning steps, in order; auto: the steps that are safe for the modality."
    )
    same_splits_as: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="A prepared dataset, by id or name: rows that it contains keep their splits; null: none, or for a "
        "version the dataset that it is made from.",
    )

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each split, in the order of `SPLITS`."""
        shares = _USUAL_SHARES if self.splits == "auto" else self.splits
        return tuple(shares.get(split, 0.0) for split in SPLITS)

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        levels = self.folders or ()
        if levels.count("split") > 1 or levels.count("label") > 1:
            msg = "one level of folders can be the label, and one the split; call the others ignored"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_duplicates(self) -> Self:
        if self.duplicates == "keep" and self.cleaning != "auto":
            msg = "leave duplicates out: the list of cleaning says what happens to them"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = self.shares
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
