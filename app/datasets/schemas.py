"""What the datasets endpoints answer. Every field is present, null where empty."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.errors import ErrorItem
from app.kit.clock import Timestamp

Status = Literal["preparing", "ready", "failed"]


class Target(BaseModel):
    """One thing that rows are labelled with."""

    name: str
    type: Literal["number", "category"]
    classes: list[str]


class Column(BaseModel):
    """One input column of a table."""

    name: str
    type: Literal["number", "category"]
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
    columns: list[Column] | None = Field(description="Input columns of a table; null for images.")
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
