"""Preparation: an uploaded file becomes a dataset in canonical form. `POST /v1/datasets` alone asks for it."""

from typing import Literal

from sqlalchemy.orm import Session

from app.jobs.interface import JobColumns, JobKind


class Preparation(JobKind):
    """Read an upload and write the dataset's canonical form; `version_of` is the dataset that it is a version of."""

    kind: Literal["preparation"] = "preparation"
    dataset: str
    version_of: str | None = None

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Return the columns; the dataset's row says how it is prepared."""
        del session, project_id
        config = {} if self.version_of is None else {"version_of": self.version_of}
        return JobColumns(kind=self.kind, config=config, dataset_id=self.dataset, lane="short")
