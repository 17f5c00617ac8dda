"""Validation errors in the words of the person who sent the request: the place, what is expected there, what to write.

Pydantic says what its types refuse. What users need is in the schema: which fields there are, where a field belongs
that was put elsewhere, and that a kind is written as an object.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from app.errors import ErrorItem, printable, problem
from app.kit.json_schema import KIND, Node, Schema, in_words, kinds_of

MAX_ITEMS = 50
MAX_SHOWN = 20
_CLOSE = 0.75  # of difflib: "epoch" and "n_epochs" are close to "epochs", "device" and "devices" to each other
_SYNONYMS = {
    "learning_rate": "lr",
    "learning_rate_init": "lr",
    "wd": "weight_decay",
    "max_iter": "steps",
    "max_steps": "steps",
    "patience": "early_stopping",
    "encoder": "backbone",
    "trunk": "backbone",
    "base_model": "model",
    "train": "training",
    "params": "training",
    "hyperparameters": "training",
    "training_file": "dataset",
    "data": "dataset",
    "head": "heads",
    "label": "target",
    "target": "columns",
    "gpu": "device",
    "tags": "metadata",
}
_WRONG_TYPE = frozenset(
    {"literal_error", "model_attributes_type", "model_type", "dict_type", "tuple_type", "list_type"}
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def error_items(errors: Sequence[Mapping[str, Any]], document: Any, schema: Schema | None) -> list[ErrorItem]:
    """Return pydantic's errors of a request's body, or of other parts of it, for the person who sent it.

    `schema` is that of the body; None: only pydantic's own sentences are known. What was sent is not echoed, as it may
    be a password, unless it is the name of a kind.
    """
    places = [_place(error, document) for error in errors]
    items = []
    for error, place in zip(errors[:MAX_ITEMS], places, strict=False):
        is_inside = (len(other) > len(place) and other[: len(place)] == place for other in places)
        if error["type"] == "too_short" and any(is_inside):
            continue  # what is in the list was refused, and so pydantic counts nothing in it
        items.append(ErrorItem(loc=[_shown(part) for part in place], msg=_message(error, place, document, schema)))
    return items


def _message(error: Mapping[str, Any], place: list[str | int], document: Any, schema: Schema | None) -> str:
    text = printable(str(error["msg"]).removeprefix("Value error, "))[:1000]
    if error["type"] == "union_tag_invalid":  # pydantic's sentence repeats the tag that was sent
        return _unknown_kind(str(error["ctx"]["tag"]), str(error["ctx"]["expected_tags"]))
    if schema is None or place[:1] != ["body"]:
        return text
    inside = place[1:]
    if error["type"] == "extra_forbidden":
        return _unknown_field(str(inside[-1]), inside[:-1], document, schema)
    nodes = schema.at(document, inside)
    if error["type"] == "union_tag_not_found":
        return f"say its kind: one of {', '.join(kinds_of(nodes))}"
    if error["type"] in _WRONG_TYPE and nodes:
        return _wrong_type(nodes, _value_at(document, inside))
    return text


def _unknown_kind(kind: str, expected: str) -> str:
    near = difflib.get_close_matches(kind, expected.replace("'", "").split(", "), 1) if _NAME.fullmatch(kind) else []
    return f"kind is one of {expected}{f'; did you mean {near[0]}?' if near else ''}"


def _unknown_field(name: str, parent: list[str | int], document: Any, schema: Schema) -> str:
    """Say where a field belongs, or which fields there are."""
    paths = schema.paths(document, parent)
    wanted = _SYNONYMS.get(name.casefold(), name.casefold())
    matches = [wanted] if wanted in paths else difflib.get_close_matches(wanted, paths, 1, _CLOSE)
    if matches:
        prefix = "".join(f"{part}." for part in parent)
        return f"there is no such field; did you mean {prefix}{paths[matches[0]][0]}?"
    root = schema.paths(document, []) if parent else {}
    if wanted in root:
        return f"there is no such field here; did you mean {root[wanted][0]}?"
    fields = [field for field in schema.fields(document, parent) if field != KIND]
    more = " ..." if len(fields) > MAX_SHOWN else ""
    return f"there is no such field; there are {', '.join(fields[:MAX_SHOWN])}{more}"


def _wrong_type(nodes: list[Node], value: Any) -> str:
    """Say what is expected where something of another type was sent; a kind's bare name is shown as an object."""
    expected = f"this is {in_words(nodes)}"
    kinds = kinds_of(nodes)
    if isinstance(value, str) and value in kinds:
        return f"write {json.dumps({'kind': value})}: a kind is an object, which may have further fields"
    if isinstance(value, str) and _NAME.fullmatch(value) and (near := difflib.get_close_matches(value, kinds, 1)):
        return f"{expected}; did you mean {json.dumps({'kind': near[0]})}?"
    types = {node.get("type") for node in nodes}
    if isinstance(value, str) and types & {"integer", "number"} and _is_number(value):
        return f"{expected}; write the number without quotes"
    if "array" in types and not isinstance(value, list):
        return f"{expected}; put what was sent into [brackets]"
    return expected


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place(error: Mapping[str, Any], document: Any) -> list[str | int]:
    """Return the place in the body that was sent, without the branches of unions that pydantic adds to it."""
    if error["loc"][:1] != ("body",):
        return list(error["loc"])
    place: list[str | int] = ["body"]
    parts = error["loc"][1:]
    for part in parts:
        if _holds(document, part):
            document = document[part]
            place.append(part)
    if error["type"] == "missing" and parts and place[-1] != parts[-1]:
        place.append(parts[-1])
    return place


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _value_at(document: Any, place: Sequence[str | int]) -> Any:
    for part in place:
        document = document[part] if _holds(document, part) else None
    return document


def _shown(part: str | int) -> str | int:
    return printable(part)[:200] if isinstance(part, str) else part


def sentence(items: Sequence[ErrorItem]) -> str:
    """Return the first error with its place, and how many more there are."""
    place = ".".join(str(part) for part in items[0].loc)
    more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    return f"{place}: {items[0].msg}{more}"


def _body_schema(request: Request) -> Schema | None:
    """Return the schema of the JSON body of the route that was asked, None where it takes none."""
    route: APIRoute = request.scope["route"]
    if route.body_field is not None:
        return _schema_of(route.endpoint, route.body_field.field_info)
    content = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    return _with_definitions(content["application/json"]["schema"]) if "application/json" in content else None


_SCHEMAS: dict[Callable[..., Any], Schema] = {}


def _schema_of(endpoint: Callable[..., Any], body: FieldInfo) -> Schema:
    """Return the schema of a body: built when it is first needed, and apart from the whole OpenAPI document."""
    if endpoint not in _SCHEMAS:
        body_type: Any = Annotated[body.annotation, body]
        _SCHEMAS[endpoint] = _with_definitions(TypeAdapter(body_type).json_schema())
    return _SCHEMAS[endpoint]


def _with_definitions(schema: Node) -> Schema:
    return Schema(schema, schema.get("$defs", {}))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    items = error_items(error.errors(), error.body, _body_schema(request))
    return problem(request, 422, "invalid_request", sentence(items), items)


def install(app: FastAPI) -> None:
    """Let `app` answer requests that cannot be validated as problem details."""
    app.add_exception_handler(RequestValidationError, _on_validation_error)
