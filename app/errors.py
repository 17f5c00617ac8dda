"""Errors that users see, and their rendering as problem details (RFC 9457).

    GraftworkError
    ├── BadRequestError 400           the request itself is malformed
    ├── UnauthorizedError 401         no valid key
    ├── ForbiddenError 403            the key lacks a scope
    ├── NotFoundError 404             the project has no such thing
    ├── NotAcceptableError 406        no form of the answer is one that Accept takes
    ├── ConflictError 409             its state does not allow this
    ├── PreconditionFailedError 412   it is not as If-Match or If-None-Match say
    ├── TooLargeError 413
    ├── UnsupportedMediaError 415
    ├── RangeError 416                no byte of a file is in the range that was asked for
    ├── UnprocessableError 422        well-formed, with wrong values; `errors` names the places
    ├── TooManyError 429
    ├── CorruptError 500              stored bytes are damaged
    ├── UnavailableError 503          try again later
    └── QuotaError 507                the project's quota of disk or rows is used up

A full disk is answered 507 `storage_full`. Anything else that escapes is recorded with its traceback; users get
`internal_error` and a request id.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.methods import allowed_methods

log = logging.getLogger(__name__)


class ErrorItem(BaseModel):
    """A place in the request or a row of a file, and what is wrong there."""

    loc: list[str | int]
    msg: str
    row: int | None = None


class Problem(BaseModel):
    """The body of every error response, `application/problem+json`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[ErrorItem]
    request_id: str | None


class GraftworkError(Exception):
    """Root of the tree: a status, a stable code, a sentence that says what to do, and the places in the request."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, code: str | None = None, errors: Sequence[ErrorItem] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = list(errors)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        return {}


class BadRequestError(GraftworkError):
    """The request itself is malformed."""

    status, default_code = 400, "bad_request"


class UnauthorizedError(GraftworkError):
    """No valid key; the response does not say why the key is not valid."""

    status, default_code = 401, "unauthorized"

    def __init__(self) -> None:
        super().__init__("Send a valid API key: 'Authorization: Bearer KEY'.")

    @property
    def headers(self) -> dict[str, str]:
        """The challenge of RFC 6750."""
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(GraftworkError):
    """The key lacks a scope."""

    status, default_code = 403, "missing_scope"


class NotFoundError(GraftworkError):
    """No such thing in this project."""

    status, default_code = 404, "not_found"


class NotAcceptableError(GraftworkError):
    """The answer comes in no form that Accept takes."""

    status, default_code = 406, "not_acceptable"


class ConflictError(GraftworkError):
    """The thing is not in a state that allows this."""

    status, default_code = 409, "conflict"


class PreconditionFailedError(GraftworkError):
    """The thing is not as the request's conditions say."""

    status, default_code = 412, "precondition_failed"


class TooLargeError(GraftworkError):
    """More bytes than the limit."""

    status, default_code = 413, "too_large"


class UnsupportedMediaError(GraftworkError):
    """Bytes in a format that is not supported."""

    status, default_code = 415, "unsupported_media_type"


class RangeError(GraftworkError):
    """No byte of the content is in the range that was asked for; `size` is that of the content, in bytes."""

    status, default_code = 416, "range_not_satisfiable"

    def __init__(self, detail: str, size: int) -> None:
        super().__init__(detail)
        self.size = size

    @property
    def headers(self) -> dict[str, str]:
        """Content-Range: how long the content is."""
        return {"Content-Range": f"bytes */{self.size}"}


class UnprocessableError(GraftworkError):
    """A well-formed request with wrong values; `errors` names their places."""

    status, default_code = 422, "invalid_request"


class TooManyError(GraftworkError):
    """A limit of use is reached."""

    status, default_code = 429, "too_many"

    def __init__(
        self, detail: str, *, code: str | None = None, errors: Sequence[ErrorItem] = (), retry_seconds: int = 30
    ) -> None:
        super().__init__(detail, code=code, errors=errors)
        self.retry_seconds = retry_seconds

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After: seconds to wait before another attempt."""
        return {"Retry-After": str(self.retry_seconds)}


class QuotaError(GraftworkError):
    """The project's quota of disk or rows is used up."""

    status, default_code = 507, "quota_exceeded"


class CorruptError(GraftworkError):
    """Stored bytes are damaged; they are never served."""

    status, default_code = 500, "corrupt_artifact"


class DeadlineError(GraftworkError):
    """The answer took longer than the request allows."""

    status, default_code = 504, "deadline_exceeded"


class UnavailableError(GraftworkError):
    """Try again later."""

    status, default_code = 503, "unavailable"

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After: seconds to wait before another attempt."""
        return {"Retry-After": "2"}


_FAULT = "This is a fault of the service; its log has the details."
_FRAMEWORK_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Not acceptable as it stands",
    429: "Too many",
    500: "Internal error",
    503: "Unavailable",
    504: "Too late",
    507: "Storage full",
}


class ErrorShape(NamedTuple):
    """How another protocol writes an error: its body, and the JSON Schema of that."""

    write: Callable[[Problem], dict[str, Any]]
    schema: dict[str, Any]


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[ErrorItem] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Render one error answer, as problem details or, under the path of another protocol, in its shape."""
    body = _problem(status, code, detail, errors, getattr(request.state, "request_id", None))
    if (shape := shape_of(request.app, request.scope["path"])) is not None:
        return JSONResponse(shape.write(body), foreign_status(status), headers)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def _problem(status: int, code: str, detail: str, errors: Sequence[ErrorItem], request_id: str | None) -> Problem:
    return Problem(
        type=f"urn:graftwork:problem:{code}",
        title=_TITLES.get(status, "Error"),
        status=status,
        code=code,
        detail=printable(detail),
        errors=list(errors),
        request_id=request_id,
    )


def problem_on_the_way(error: Exception, request_id: str | None) -> Problem:
    """Return the problem of an answer that has begun when it fails; what is a fault of the service is logged."""
    if isinstance(error, GraftworkError):
        return _problem(error.status, error.code, error.detail, error.errors, request_id)
    log.error("request %s failed on the way", request_id, exc_info=error)
    return _problem(500, "internal_error", _FAULT, (), request_id)


def shape_of(app: FastAPI, path: str) -> ErrorShape | None:
    """Return how errors of a path are written where it is another protocol's."""
    shapes: Mapping[str, ErrorShape] = app.state.error_shapes
    return next((shape for prefix, shape in shapes.items() if f"{path}/".startswith(prefix)), None)


def foreign_status(status: int) -> int:
    """Return the status that other protocols have for a problem: 400 for all that is wrong with a sound request."""
    return 400 if status in (409, 422) else status


def printable(text: str) -> str:
    """Escape lone surrogates, which cannot be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


async def _on_graftwork_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GraftworkError)
    return problem(request, error.status, error.code, error.detail, error.errors, error.headers)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _FRAMEWORK_CODES.get(error.status_code, "error")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed_methods(request.app.routes, request.scope))
    return problem(request, error.status_code, code, str(error.detail), headers=headers)


async def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    log.warning("database unavailable: %s", error)
    detail = "The database does not answer; nothing was changed. Try again."
    return problem(request, 503, "database_unavailable", detail, headers={"Retry-After": "2"})


async def _on_system_error(request: Request, error: Exception) -> JSONResponse:
    if getattr(error, "errno", None) not in _FULL:
        return await _on_unexpected_error(request, error)
    log.error("no room left: %s", error)
    detail = "The service has no room left for this; nothing was kept. Free some, or ask who runs it to."
    return problem(request, 507, "storage_full", detail)


async def _on_value_out_of_range(request: Request, error: Exception) -> JSONResponse:
    log.warning("a value does not fit the database: %s", error)
    return problem(request, 422, "invalid_request", "A value is out of the range that can be stored.")


async def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("request %s failed", getattr(request.state, "request_id", None), exc_info=error)
    return problem(request, 500, "internal_error", _FAULT)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


def install(app: FastAPI, shapes: Mapping[str, ErrorShape]) -> None:
    """Let `app` answer every error as problem details, or in the shape of the protocol whose paths begin so."""
    app.state.error_shapes = shapes
    handlers: dict[type[Exception], Handler] = {
        GraftworkError: _on_graftwork_error,
        HTTPException: _on_http_exception,
        OperationalError: _on_database_error,
        InterfaceError: _on_database_error,  # a connection that broke
        InternalError: _on_database_error,  # a transaction that the database has ended
        PoolTimeoutError: _on_database_error,
        DataError: _on_value_out_of_range,
        OverflowError: _on_value_out_of_range,
        OSError: _on_system_error,
        Exception: _on_unexpected_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
