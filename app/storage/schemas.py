"""The answers about storage."""

from typing import Literal

from pydantic import BaseModel, Field


class Amount(BaseModel):
    """Files; the same content counts once."""

    count: int
    bytes: int


class Usage(BaseModel):
    """Files that rows name, by what the rows are."""

    datasets: Amount
    models: Amount
    checkpoints: Amount
    job_files: Amount = Field(description="Curves, and what the trials of unfinished sweeps made.")
    deleted: Amount = Field(description="Of deleted datasets and models, until garbage collection takes them.")


class ServiceStorage(BaseModel):
    """All projects together, and what no row names."""

    named: Usage
    unreferenced: Amount = Field(description="In the store, and named by no row: uploads under way, and leftovers.")
    trash: Amount = Field(description="Found unreferenced by garbage collection, and still kept for its grace.")
    cache: Amount = Field(description="Copies of a bucket's files in this machine's data folder.")
    tmp: Amount = Field(description="Uploads and attempts under way on this machine, and their leftovers.")
    free_bytes: int = Field(description="Free space of this machine's data folder.")
    total_bytes: int = Field(description="Size of the file system of this machine's data folder.")


class Storage(BaseModel):
    """What a project's files take; for keys with the scope admin, what those of the whole service take."""

    object: Literal["storage"] = "storage"
    project: Usage
    service: ServiceStorage | None
