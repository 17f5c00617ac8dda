"""Request and response bodies of uploads in parts. Every field is present, null if empty."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.kit.clock import Timestamp

MAX_PARTS = 10_000
MAX_FILENAME = 200  # a longer one is cut
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Status = Literal["open", "complete"]


class UploadRequest(BaseModel):
    """A file that is to arrive in parts."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filename": "flowers.csv"}]})

    filename: str = Field(min_length=1, max_length=1000, description="Name of the file, which is shown.")
    bytes: int | None = Field(None, ge=1, lt=2**53, description="Size of the whole file; null: its parts say.")
    sha256: Digest | None = Field(
        None, description="SHA-256 of the whole file in hexadecimal, by which an upload is looked for to go on with it."
    )


class CompleteRequest(BaseModel):
    """The end of an upload."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    sha256: Digest | None = Field(None, description="SHA-256 of the whole file; null: as the upload said, if it did.")


class Part(BaseModel):
    """A piece of a file that has arrived."""

    number: int = Field(description="Its place among the parts, from 1 on.")
    bytes: int
    sha256: str


class UploadLinks(BaseModel):
    """Addresses of an upload."""

    self: str


class Upload(BaseModel):
    """A file that arrives in parts. It goes a day after the last change of it, and datasets made from it stay."""

    id: str
    object: Literal["upload"] = "upload"
    status: Status
    filename: str
    bytes: int | None = Field(description="Size of the whole file; null: not known yet.")
    sha256: str | None = Field(description="SHA-256 of the whole file; null: not known yet.")
    parts: list[Part] = Field(description="The parts that are here, by number; of a complete upload none any more.")
    received_bytes: int = Field(description="Bytes that are here.")
    max_part_bytes: int = Field(description="The most bytes that a part may have.")
    created_at: Timestamp
    expires_at: Timestamp = Field(description="When it goes, unless another part comes.")
    links: UploadLinks
