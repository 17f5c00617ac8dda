"""Builds the OpenAPI document and declares every error as a problem document, or as its protocol writes it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.errors import foreign_status, shape_of

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_FIRST_ERROR = 400


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application; it is built only once."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for path, operations in schema["paths"].items():
            shape = shape_of(app, path)
            for operation in operations.values():
                if shape is None:
                    _declare_errors(operation["responses"], _PROBLEM)
                else:
                    operation["responses"] = _with_foreign_statuses(operation["responses"])
                    _declare_errors(operation["responses"], {"application/json": {"schema": shape.schema}})
        app.openapi_schema = schema
    return app.openapi_schema


def _with_foreign_statuses(responses: dict[str, Any]) -> dict[str, Any]:
    """Return the responses of another protocol's operation under the statuses that it has for them."""
    return {
        str(foreign_status(int(status))) if status.isdecimal() else status: response
        for status, response in responses.items()
    }


def _declare_errors(responses: dict[str, Any], content: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status.isdecimal() and int(status) >= _FIRST_ERROR:
            response["content"] = content
    responses["default"] = {"description": "Any other error.", "content": content}
