"""Tables of what projects keep; triggers write them, and nobody else (`app.db.named_files`)."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id


class NamedFileRow(Base):
    """A file that rows of a project name, and how many of each kind do; deleted rows name nothing here."""

    __tablename__ = "named_files"

    project_id: Mapped[str] = mapped_column(Id, primary_key=True)
    file: Mapped[str] = mapped_column(String(300), primary_key=True)  # sha256 of a blob, or key of a checkpoint
    bytes: Mapped[int]
    datasets: Mapped[int] = mapped_column(default=0, server_default="0")
    models: Mapped[int] = mapped_column(default=0, server_default="0")
    checkpoints: Mapped[int] = mapped_column(default=0, server_default="0")
    job_files: Mapped[int] = mapped_column(default=0, server_default="0")
    uploads: Mapped[int] = mapped_column(default=0, server_default="0")


class StorageTotalRow(Base):
    """A part of the total of a kind; the total is the sum of its parts.

    Kinds are those of NamedFileRow, `kept` (files of any of these kinds, each once), `rows` of datasets and
    `labelled_rows`.
    """

    __tablename__ = "storage_totals"

    project_id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    bytes: Mapped[int]
