"""What the datasets endpoints answer. Every field is present, null where empty."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.datasets.options import PrepareOptions
from app.datasets.report import Leak, LeakCount
from app.errors import ErrorItem
from app.kit.clock import Timestamp
from app.ml.data.spec import Frozen

Status = Literal["preparing", "ready", "failed"]


class Target(BaseModel):
    """One thing that rows are labelled with."""

    name: str
    type: Literal["number", "category"]
    classes: list[str]


class Column(BaseModel):
    """One input column of a table, or one channel of series."""

    name: str
    type: Literal["number", "category", "date"]
    categories: list[str]


class DatasetFailure(BaseModel):
    """Why a preparation failed, and where."""

    code: str
    message: str
    errors: list[ErrorItem]


class DatasetLinks(BaseModel):
    """Where to go from here."""

    self: str
    report: str
    rows: str
    job: str | None


class Dataset(BaseModel):
    """A dataset; what its preparation finds out is null until it is `ready`."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    status: Status
    modality: str | None
    filename: str = Field(description="As the client named the file; for show only.")
    bytes: int
    sha256: str = Field(description="Of the uploaded file.")
    rows: dict[str, int] | None = Field(description="Rows in each split.")
    targets: list[Target] | None
    columns: list[Column] | None = Field(description="Columns of a table, or channels of series; else null.")
    job: str | None = Field(description="The job that prepares it.")
    error: DatasetFailure | None
    created_at: Timestamp
    prepared_at: Timestamp | None
    links: DatasetLinks


class RowsPage(BaseModel):
    """Some rows of a prepared dataset, in its own order."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    offset: int
    total: int
    has_more: bool


class VersionRequest(Frozen):
    """How another dataset is to be prepared from the source of one that is there."""

    name: str | None = Field(default=None, max_length=200, description="Name of the new dataset; null: the same.")
    options: PrepareOptions = Field(
        default_factory=PrepareOptions,
        description="As in an upload; what is not given stays as it was, also the splits of rows, unless `splits`, "
        "`seed`, `same_splits_as` or a column's role says how they are split.",
    )


class Leaks(BaseModel):
    """Rows on two sides: in train and in validation or test, or in this dataset and in another."""

    object: Literal["leaks"] = "leaks"
    dataset: str
    against: str | None = Field(description="The other dataset; null: the splits of this one were compared.")
    counts: tuple[LeakCount, ...] = Field(description="Rows that are the same or nearly so, by splits; none: empty.")
    rows: tuple[Leak, ...] = Field(description="At most 100 of them, those of test first.")
    advice: str
