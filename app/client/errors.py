"""The exceptions of the client.

    GraftworkError
    ├── GraftworkApiError     the service refused the request; the attributes hold its problem details
    ├── UnreachableError      the service could not be reached in any attempt
    ├── DatasetFailedError    the preparation of a dataset failed; `dataset` says why
    ├── JobFailedError        a job failed or was cancelled; `job` says why
    └── DamagedError          downloaded bytes do not match their announced digest

A `GraftworkWarning` is no exception: Python prints each once, and `warnings.simplefilter` can ignore or raise it.

httpx's errors of a broken connection are raised as `UnreachableError` once all attempts failed.
"""

from collections.abc import Mapping
from typing import Any


class GraftworkWarning(UserWarning):
    """What the service says is lost or doubtful: of a dataset, a job, a model or the inputs of a request."""


class GraftworkError(Exception):
    """Base class of the client's exceptions."""


class GraftworkApiError(GraftworkError):
    """An error response, with the fields of its problem details (RFC 9457)."""

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
    """The preparation of a dataset failed."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = dataset
        error = dataset.get("error") or {}
        super().__init__(f"{dataset['id']}: {error.get('message', 'the preparation has failed')}")


class JobFailedError(GraftworkError):
    """A job failed or was cancelled."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        error = job.get("error") or {}
        super().__init__(f"{job['id']} {job['status']}: {error.get('message', '')}".rstrip(": "))


class DamagedError(GraftworkError):
    """Downloaded bytes do not match their announced digest."""
