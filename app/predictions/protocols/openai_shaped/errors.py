"""Errors in OpenAI's shape."""

from typing import Any

from app.errors import Problem

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SERVER = 500


def body_of(problem: Problem) -> dict[str, Any]:
    """Return a problem as OpenAI's clients read it; `param` is the first field that it is about."""
    kind = "server_error" if problem.status >= _SERVER else _TYPES.get(problem.status, "invalid_request_error")
    places = [[part for part in item.loc if part != "body"] for item in problem.errors]
    param = ".".join(map(str, places[0])) if places and places[0] else None
    message = problem.detail.removeprefix("body.").removeprefix("body: ")
    return {"error": {"message": message, "type": kind, "param": param, "code": problem.code}}
