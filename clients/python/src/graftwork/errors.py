"""The exceptions of the client.

    GraftworkError
    ├── GraftworkApiError            the service refused the request
    │   ├── BadRequestError 400, 405, 406, 411 to 417     the request itself is malformed, too large, or out of date
    │   ├── UnauthorizedError 401    no valid key
    │   ├── ForbiddenError 403       the key lacks a scope
    │   ├── NotFoundError 404        the project has no such thing
    │   ├── ConflictError 409        its state does not allow this
    │   ├── PreconditionFailedError 412   it is not as If-Match or If-None-Match say
    │   ├── UnprocessableError 422   well-formed, with wrong values; `errors` names the places
    │   ├── TooManyError 429         a limit of use is reached
    │   ├── QuotaError 507           disk or rows are used up
    │   └── ServerError 5xx
    │       ├── UnavailableError 503 the service cannot answer for a while
    │       └── DeadlineError 504    the answer took longer than the request allows
    ├── UnreachableError             the service could not be reached in any attempt
    ├── ConnectionSettingsError      the URL or the key cannot be one; also a ValueError
    ├── DatasetFailedError           the preparation of a dataset failed; `dataset` says why
    ├── JobFailedError               a job failed or was cancelled; `job` says why
    └── DamagedError                 downloaded bytes do not match their announced digest

Each has a `code`, the `errors` at their places, a `remedy` (what to do, where something is known to help) and a
`status` (of HTTP; None without an answer).

A `GraftworkWarning` is no exception: Python prints each once, and `warnings.simplefilter` can ignore or raise it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from graftwork.answers import Dataset, Job

ErrorPlace: TypeAlias = dict[str, Any]  # `loc`, `msg`, and `row` of a file


class GraftworkWarning(UserWarning):
    """What the service says is lost or doubtful: of a dataset, a job, a model or the inputs of a request."""


class GraftworkError(Exception):
    """Base class of the client's exceptions."""

    code: str = "error"
    status: int | None = None
    remedy: str | None = None
    errors: Sequence[ErrorPlace] = ()


class GraftworkApiError(GraftworkError):
    """An error response, with the fields of its problem details (RFC 9457)."""

    status: int

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: str = "") -> None:
        self.status = status
        self.retry_after = retry_after  # what the response's Retry-After says
        self.code = str(problem.get("code", "error"))
        self.title = str(problem.get("title", "Error"))
        self.detail = str(problem.get("detail", ""))
        self.errors: list[ErrorPlace] = list(problem.get("errors") or [])
        self.remedy = problem.get("remedy") or type(self).remedy
        self.request_id = problem.get("request_id")
        super().__init__(f"{status} {self.code}: {self.detail}")


class BadRequestError(GraftworkApiError):
    """The request itself is malformed."""


class UnauthorizedError(GraftworkApiError):
    """No valid key."""

    remedy = "give a key of this service, as an argument or as GRAFTWORK_KEY; `graftwork server keys create` makes one"


class ForbiddenError(GraftworkApiError):
    """The key lacks a scope."""

    remedy = "use a key with this scope; an administrator makes one"


class NotFoundError(GraftworkApiError):
    """The project has no such thing."""


class ConflictError(GraftworkApiError):
    """The state of the thing does not allow this."""


class PreconditionFailedError(GraftworkApiError):
    """The thing is not as If-Match or If-None-Match say."""

    remedy = "read it anew, and decide on what it is now"


class UnprocessableError(GraftworkApiError):
    """Well-formed, with wrong values; `errors` names their places."""


class TooManyError(GraftworkApiError):
    """A limit of use is reached, and was still reached after the pauses that the service asked for."""

    remedy = "ask for less at a time, or try again later"


class QuotaError(GraftworkApiError):
    """The quota of disk or rows is used up, or the disk is full."""

    remedy = "delete what is not needed any more: datasets, jobs and models"


class ServerError(GraftworkApiError):
    """A fault of the service, or of what stands between."""


class UnavailableError(ServerError):
    """The service could not answer, however often it was asked."""

    remedy = "try again later"


class DeadlineError(ServerError):
    """The answer took longer than the request allows."""

    remedy = "allow more seconds by `timeout`, or ask for fewer rows at a time"


class UnreachableError(GraftworkError):
    """The service could not be reached."""

    code = "unreachable"

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        self.remedy = remedy
        super().__init__(f"{message} ({remedy})" if remedy else message)


class ConnectionSettingsError(GraftworkError, ValueError):
    """The URL or the key of a client cannot be one."""

    code = "connection_settings"

    def __init__(self, message: str, *, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{message}: {remedy}")


class DatasetFailedError(GraftworkError):
    """The preparation of a dataset failed."""

    def __init__(self, dataset: "Dataset") -> None:
        self.dataset = dataset
        error = dataset.get("error") or {}
        self.code = error.get("code", "dataset_failed")
        self.errors = error.get("errors") or ()
        super().__init__(f"{dataset['id']}: {error.get('message', 'the preparation has failed')}")


class JobFailedError(GraftworkError):
    """A job failed or was cancelled."""

    def __init__(self, job: "Job") -> None:
        self.job = job
        error = job.get("error") or {}
        self.code = error.get("code", f"job_{job['status']}")
        self.remedy = error.get("remedy")
        super().__init__(f"{job['id']} {job['status']}: {error.get('message', '')}".rstrip(": "))


class DamagedError(GraftworkError):
    """Downloaded bytes do not match their announced digest."""

    code = "damaged"
    remedy = "download it again"


_BY_STATUS: dict[int, type[GraftworkApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionFailedError,
    422: UnprocessableError,
    429: TooManyError,
    503: UnavailableError,
    504: DeadlineError,
    507: QuotaError,
}
FIRST_SERVER_STATUS = 500


def api_error(status: int, problem: Mapping[str, Any], retry_after: str = "") -> GraftworkApiError:
    """Return the exception of an error response's status, problem details and Retry-After."""
    other = ServerError if status >= FIRST_SERVER_STATUS else BadRequestError
    return _BY_STATUS.get(status, other)(status, problem, retry_after)
