"""Builds the OpenAPI document and declares every error response as a problem document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_FIRST_ERROR = 400


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application; it is built only once."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                _declare_errors(operation["responses"])
        app.openapi_schema = schema
    return app.openapi_schema


def _declare_errors(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status.isdecimal() and int(status) >= _FIRST_ERROR:
            response["content"] = _PROBLEM
    responses["default"] = {"description": "Any other error.", "content": _PROBLEM}
