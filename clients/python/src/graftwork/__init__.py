"""A client of the Graftwork service, for programs that wait and for programs that do not.

    with Graftwork("http://127.0.0.1:8000", key) as graftwork:
        dataset = graftwork.datasets.create("images.zip", name="images")
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset.id, name="images")
        job.wait(progress=True)
        features = graftwork.models.embed("images", images)

`AsyncGraftwork` has the same methods to await. `graftwork.requests` has the types of what is sent, `graftwork.answers`
those of what is answered. Everything is imported where it is first used, so that `import graftwork` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graftwork import answers, errors, requests
    from graftwork._async.client import AsyncGraftwork
    from graftwork._async.job import AsyncJob, AsyncJobSummary
    from graftwork._sync.client import Graftwork
    from graftwork._sync.job import Job, JobSummary
    from graftwork.errors import (
        BadRequestError,
        ConflictError,
        ConnectionSettingsError,
        DamagedError,
        DatasetFailedError,
        DeadlineError,
        ForbiddenError,
        GraftworkApiError,
        GraftworkError,
        GraftworkWarning,
        JobFailedError,
        NotFoundError,
        PreconditionFailedError,
        QuotaError,
        ServerError,
        TooManyError,
        UnauthorizedError,
        UnavailableError,
        UnprocessableError,
        UnreachableError,
    )
    from graftwork.predictions import Embeddings, Generations, Predictions

__all__ = [
    "AsyncGraftwork",
    "AsyncJob",
    "AsyncJobSummary",
    "BadRequestError",
    "ConflictError",
    "ConnectionSettingsError",
    "DamagedError",
    "DatasetFailedError",
    "DeadlineError",
    "Embeddings",
    "ForbiddenError",
    "Generations",
    "Graftwork",
    "GraftworkApiError",
    "GraftworkError",
    "GraftworkWarning",
    "Job",
    "JobFailedError",
    "JobSummary",
    "NotFoundError",
    "PreconditionFailedError",
    "Predictions",
    "QuotaError",
    "ServerError",
    "TooManyError",
    "UnauthorizedError",
    "UnavailableError",
    "UnprocessableError",
    "UnreachableError",
    "answers",
    "errors",
    "requests",
]

_MODULES = {
    "AsyncGraftwork": "_async.client",
    "AsyncJob": "_async.job",
    "AsyncJobSummary": "_async.job",
    "Graftwork": "_sync.client",
    "Job": "_sync.job",
    "JobSummary": "_sync.job",
    "Embeddings": "predictions",
    "Generations": "predictions",
    "Predictions": "predictions",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for; all that has no module of its own here is an error or a warning."""
    if name not in __all__:
        msg = f"module 'graftwork' has no attribute {name!r}"
        raise AttributeError(msg)
    if name in ("answers", "errors", "requests"):
        return import_module(f"graftwork.{name}")
    return getattr(import_module(f"graftwork.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
