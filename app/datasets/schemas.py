"""Requests and answers of the datasets endpoints. Every field of an answer is present, null where empty."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.datasets.options import PrepareOptions
from app.datasets.report import Leak, LeakCount
from app.errors import ErrorItem
from app.kit.clock import Timestamp
from app.ml.spec import Decision, Frozen, WarningItem

Status = Literal["preparing", "ready", "failed"]


class Target(BaseModel):
    """A column of labels that heads can predict."""

    name: str
    type: Literal["number", "category"]
    classes: list[str]
    group: str | None = Field(None, description="The column of lists that this is a label of; null: it is a column.")


class Column(BaseModel):
    """An input column of a table, or a channel of series."""

    name: str
    type: Literal["number", "category", "date", "text"]
    categories: list[str]


class DatasetFailure(BaseModel):
    """Why a preparation failed, and in which rows or fields."""

    code: str
    message: str
    errors: list[ErrorItem]


class DatasetLinks(BaseModel):
    """Paths of what belongs to a dataset."""

    self: str
    report: str
    rows: str
    job: str | None


class DatasetSource(BaseModel):
    """Where the files of a dataset are that is registered in place."""

    url: str
    files: int
    bytes: int = Field(description="Bytes of all files.")


class DatasetSummary(BaseModel):
    """A dataset as lists show it: without its columns, targets and decisions."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    status: Status
    modality: str | None
    filename: str = Field(description="The client's name for the file; only displayed.")
    bytes: int
    sha256: str = Field(description="SHA-256 of the uploaded file, or of the listing of a source.")
    source: DatasetSource | None = Field(None, description="Where it is registered in place; null: it was uploaded.")
    rows: dict[str, int] | None = Field(description="Rows in each split.")
    warnings: list[WarningItem] = Field([], description="What was lost or is doubtful; empty: nothing is known to be.")
    job: str | None = Field(description="The job that prepares it.")
    error: DatasetFailure | None
    created_at: Timestamp
    prepared_at: Timestamp | None
    links: DatasetLinks


class Dataset(DatasetSummary):
    """A dataset; fields that its preparation fills are null until it is `ready`."""

    targets: list[Target] | None
    columns: list[Column] | None = Field(description="Columns of a table, or channels of series; else null.")
    decisions: list[Decision] = Field([], description="What was guessed, by which evidence, and what overrules it.")


class RowsPage(BaseModel):
    """Some rows of a prepared dataset, in the order in which they are stored."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    offset: int
    total: int
    has_more: bool


class DatasetRequest(PrepareOptions):
    """A dataset from an upload in parts, or from files that stay where they are: the fields of the form as JSON."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "flowers-in-parts", "upload": "upl_0"}]})

    name: str = Field(min_length=1, max_length=200, description="Name of the dataset.")
    upload: str | None = Field(
        default=None,
        max_length=64,
        description="Id of the complete upload (POST /v1/uploads), unless there is a source.",
    )
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="A file, or a folder of files, that stays where it is: s3://bucket/path or file:///path, under a "
        "prefix that an operator allows (GRAFTWORK_SOURCES).",
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.upload is None) == (self.source is None):
            msg = "give `upload`, the id of a complete upload, or `source`, where the files are, and not both"
            raise ValueError(msg)
        return self


class VersionRequest(Frozen):
    """How a further dataset is prepared: from the source of an existing one, or from a new source with more rows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "flowers-split-again", "options": {"seed": 1}}]})

    name: str | None = Field(default=None, max_length=200, description="Name of the new dataset; null: the same.")
    upload: str | None = Field(
        default=None,
        max_length=64,
        description="Id of the complete upload (POST /v1/uploads) that the version is prepared from: all of its rows, "
        "earlier ones and new ones. Null: the source of the dataset, unless there is a `source`.",
    )
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="A file, or a folder of files, that stays where it is, with all rows of the version, as in "
        "POST /v1/datasets. That of the dataset is listed anew.",
    )
    options: PrepareOptions = Field(
        default_factory=PrepareOptions,
        description="As in an upload; options that are not given stay as they were, and so do the splits, unless "
        "`splits`, `seed`, `same_splits_as` or a column's role says how they are split.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.upload is not None and self.source is not None:
            msg = "give `upload`, the id of a complete upload, or `source`, where the files are, and not both"
            raise ValueError(msg)
        return self


class Leaks(BaseModel):
    """Rows that are in train and in validation or test, or in this dataset and in another."""

    object: Literal["leaks"] = "leaks"
    dataset: str
    against: str | None = Field(description="The other dataset; null: the splits of this one were compared.")
    counts: tuple[LeakCount, ...] = Field(
        description="Numbers of equal or nearly equal rows, by splits; empty: there are none."
    )
    rows: tuple[Leak, ...] = Field(description="At most 100 of these rows, those of test first.")
    advice: str
