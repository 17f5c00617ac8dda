"""Response bodies of the storage endpoint."""

from typing import Literal

from pydantic import BaseModel, Field

from app.storage.quotas import Quota


class Amount(BaseModel):
    """A number of files and their bytes; equal contents count once."""

    count: int
    bytes: int


class Usage(BaseModel):
    """Files that rows name, by the kind of row, and labelled rows."""

    datasets: Amount
    models: Amount
    checkpoints: Amount
    job_files: Amount = Field(
        description="Curves, results of batch predictions, files sent for unfinished ones, and models of the trials of "
        "unfinished sweeps."
    )
    uploads: Amount = Field(description="Files that arrive in parts, and those that have arrived whole, for a day.")
    deleted: Amount = Field(description="Files of deleted datasets and models, until garbage collection removes them.")
    labelled_rows: Amount = Field(description="Rows that people labelled in Label Studio; the database holds them.")


class ServiceStorage(BaseModel):
    """The files of all projects, and those that no row names."""

    named: Usage
    unreferenced: Amount = Field(
        description="Files in the store that no row names: uploads in progress, and leftovers."
    )
    trash: Amount = Field(
        description="Files in the trash, until garbage collection deletes them after the grace period."
    )
    cache: Amount = Field(description="Copies of a bucket's files in this machine's data folder.")
    tmp: Amount = Field(description="Files of uploads and attempts in progress on this machine, and leftovers.")
    free_bytes: int = Field(description="Free space of this machine's data folder.")
    total_bytes: int = Field(description="Size of the file system of this machine's data folder.")


class Storage(BaseModel):
    """The disk space of a project's files, its quota and, for keys with the scope admin, of the whole service."""

    object: Literal["storage"] = "storage"
    project: Usage
    quota: Quota
    service: ServiceStorage | None
