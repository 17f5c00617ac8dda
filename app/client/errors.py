"""What the client raises.

    GraftworkError
    ├── GraftworkApiError     the service has refused; its problem details are the fields
    ├── UnreachableError      the service could not be reached, however often it was tried
    ├── DatasetFailedError    a dataset's preparation has failed; `dataset` says why
    ├── JobFailedError        a job has ended without success; `job` says why
    └── DamagedError          downloaded bytes are not the ones that were announced

What httpx raises of a broken connection is raised as `UnreachableError`, after some attempts.
"""

from collections.abc import Mapping
from typing import Any


class GraftworkError(Exception):
    """Root of the tree."""


class GraftworkApiError(GraftworkError):
    """An error answer, with the fields of its problem details."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "error"))
        self.title = str(problem.get("title", "Error"))
        self.detail = str(problem.get("detail", ""))
        self.errors: list[dict[str, Any]] = list(problem.get("errors") or [])
        self.request_id = problem.get("request_id")
        super().__init__(f"{status} {self.code}: {self.detail}")


class UnreachableError(GraftworkError):
    """The service could not be reached."""


class DatasetFailedError(GraftworkError):
    """A dataset's preparation has failed."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = dataset
        error = dataset.get("error") or {}
        super().__init__(f"{dataset['id']}: {error.get('message', 'the preparation has failed')}")


class JobFailedError(GraftworkError):
    """A job has ended without success."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        error = job.get("error") or {}
        super().__init__(f"{job['id']} {job['status']}: {error.get('message', '')}".rstrip(": "))


class DamagedError(GraftworkError):
    """Downloaded bytes are not the ones that were announced."""
