"""Builds the OpenAPI document and declares every error as a problem document, or as its protocol writes it."""

from collections.abc import Iterator
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
        _share_definitions(schema)
        _show_examples(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _share_definitions(schema: dict[str, Any]) -> None:
    """Move the definitions of bodies that are described by hand to the components, where every reference leads."""
    components = schema["components"]["schemas"]
    for operations in schema["paths"].values():
        for operation in operations.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                body = media["schema"]
                definitions = body.pop("$defs", {})
                if {"title", "properties"} <= body.keys():  # a model; a form has no title, and stays where it is
                    definitions[body["title"]], media["schema"] = body, {"$ref": f"#/$defs/{body['title']}"}
                for name, definition in definitions.items():
                    shared = _in_components(definition)
                    assert components.setdefault(name, shared) == shared, f"two schemas are named {name}"
                media["schema"] = _in_components(media["schema"])


def _show_examples(schema: dict[str, Any]) -> None:
    """Give each body the examples of its model, or of the models that it may be; these refer to things by name."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                examples = list(_examples_of(media["schema"], schema["components"]["schemas"]))
                if examples:
                    media["examples"] = {f"example_{number}": {"value": it} for number, it in enumerate(examples, 1)}


def _examples_of(node: dict[str, Any], components: dict[str, Any]) -> Iterator[Any]:
    if "$ref" in node:
        node = components[node["$ref"].rpartition("/")[2]]
    yield from node.get("examples", ())
    for choice in node.get("oneOf", node.get("anyOf", ())):
        yield from _examples_of(choice, components)


def _in_components(schema: Any) -> Any:
    """Return a schema whose references to its own definitions lead to the components."""
    if isinstance(schema, list):
        return [_in_components(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _in_components(value) for key, value in schema.items()}
    return schema.replace("#/$defs/", "#/components/schemas/") if isinstance(schema, str) else schema


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
