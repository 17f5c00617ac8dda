"""What is generated is current, and the client reaches every route, query parameter and field of the service."""

import ast
import importlib.util
import inspect
import re
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import graftwork
from graftwork import requests
from graftwork._async import admin, client, datasets, heads, jobs, keys, models, uploads, webhooks

CLIENT = Path(__file__).parents[3] / "clients" / "python"
ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) /")
RESOURCES: dict[str, type[Any]] = {
    "client.py": client.AsyncGraftwork,
    "jobs.py": jobs.AsyncJobs,
    "project_events.py": jobs.AsyncJobs,
    "datasets.py": datasets.AsyncDatasets,
    "models.py": models.AsyncModels,
    "heads.py": heads.AsyncHeads,
    "keys.py": keys.AsyncKeys,
    "admin.py": admin.AsyncAdmin,
    "uploads.py": uploads.AsyncUploads,
    "webhooks.py": webhooks.AsyncWebhooks,
}
# Fields that go by another name.
OTHERWISE = {
    "file": "source inputs",
    "upload": "source",
    "last-event-id": "after",
    "if-match": "revision",
    "if-none-match": "only_new revision",
    "X-Routing-Key": "routing_key",
    "format": "form",
    "model": "ref",
    "versions": "ref",
    "options": "columns",  # of a new version of a dataset: each is an argument
}
BY_ITSELF = {"idempotency-key", "accept"}


def generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CLIENT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


TYPES = generator("generate_types")
DOCUMENT = TYPES.openapi()
OPERATIONS = TYPES.operations(DOCUMENT)


def test_the_synchronous_client_is_current() -> None:
    module = generator("generate_sync")
    written = {path: path.read_text(encoding="utf-8") for path in module.TARGET.glob("*.py")}
    assert written == module.generated(), "run: .venv/bin/python clients/python/generate_sync.py"


def test_the_types_are_current() -> None:
    for path, text in TYPES.generated().items():
        assert path.read_text(encoding="utf-8") == text, "run: .venv/bin/python clients/python/generate_types.py"


def methods_by_route() -> dict[str, list[tuple[type[Any], str]]]:
    """By route, the public methods in whose source it stands, or of which a private helper is given it."""
    found: dict[str, list[tuple[type[Any], str]]] = {}
    for file, resource in RESOURCES.items():
        tree = ast.parse((CLIENT / "src" / "graftwork" / "_async" / file).read_text(encoding="utf-8"))
        for method in (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)):
            for node in ast.walk(method):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and ROUTE.match(node.value):
                    found.setdefault(node.value, []).append((resource, method.name))
    return found


METHODS = methods_by_route()


def test_every_route_has_its_method() -> None:
    assert set(METHODS) == set(OPERATIONS)


def arguments(resource: type[Any], name: str) -> set[str]:
    """The names by which a method is called, with those of its TypedDicts, in each of its overloads."""
    method = getattr(resource, name)
    names: set[str] = set()
    for alternative in (method, *typing.get_overloads(method)):
        for parameter in inspect.signature(alternative).parameters.values():
            names.add(parameter.name)
            unpacked = typing.get_args(parameter.annotation)
            if parameter.kind is parameter.VAR_KEYWORD and unpacked:
                names |= set(unpacked[0].__annotations__)
    return names


def fields(operation: dict[str, Any]) -> set[str]:
    """The parameters of a route that stand outside its path, and the fields of its bodies."""
    names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] != "path"}
    for content, body in operation.get("requestBody", {}).get("content", {}).items():
        if content in ("application/json", "multipart/form-data"):
            names |= properties(body["schema"])
    return names


def properties(schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    choices = schema.get("oneOf", []) + schema.get("anyOf", [])
    return set(schema.get("properties", ())).union(*map(properties, choices))


@pytest.mark.parametrize("route", sorted(OPERATIONS))
def test_every_field_can_be_said(route: str) -> None:
    said = set().union(*(arguments(*method) for method in METHODS[route]))
    names = fields(OPERATIONS[route]) - BY_ITSELF
    assert not {name for name in names if not {name, *OTHERWISE.get(name, "").split()} & said}


def test_every_kind_of_job_has_its_types() -> None:
    body = OPERATIONS["POST /v1/jobs"]["requestBody"]["content"]["application/json"]["schema"]
    kinds = {reference["$ref"].rpartition("/")[2] for reference in body["oneOf"]}
    typed = {
        typing.get_args(inspect.signature(overload).parameters["fields"].annotation)[0].__name__
        for overload in typing.get_overloads(jobs.AsyncJobs.create)
    }
    assert typed == kinds


def test_arguments_of_the_client_are_no_fields_of_requests() -> None:
    for name, request in vars(requests).items():
        if name.endswith(("Request", "Options")) and name != "HeadsOptions":
            assert not {"wait", "progress"} & set(request.__annotations__), name


def test_everything_public_can_be_imported() -> None:
    assert set(graftwork.__all__) <= set(dir(graftwork))
    for name in graftwork.__all__:
        assert getattr(graftwork, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        graftwork.Nothing  # noqa: B018 - it is asked for
    classes = [getattr(graftwork, name) for name in graftwork.__all__ if name.endswith("Error")]
    assert all(issubclass(error, graftwork.GraftworkError) for error in classes)
    assert {error.__name__ for error in classes} == {
        name for name in vars(graftwork.errors) if name.endswith("Error") and name != "Error"
    }
