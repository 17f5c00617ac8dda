"""The OpenAPI document, as generators of clients read it."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings

VERBS = set(
    re.findall(
        r"\w+",
        """cancel change complete create delete estimate extend get import infer limit list pause predict preview
        receive redeliver resume retry revoke roll rotate send set test write""",
    )
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(Settings(data=tmp_path_factory.mktemp("data"))).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_operation_ids_are_unique_names_of_functions(document: dict[str, Any]) -> None:
    names = {route: operation["operationId"] for route, operation in operations(document)}
    assert len(names) >= 80
    assert [name for name, count in Counter(names.values()).items() if count > 1] == []
    for route, name in names.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name), f"{route}: {name} is no verb_noun"
        assert name.partition("_")[0] in VERBS, f"{route}: {name} begins with no verb"
        assert not re.search(r"_v\d", name), f"{route}: {name} holds its path"
        assert not name.endswith(("_get", "_post", "_put", "_patch", "_delete")), f"{route}: {name} holds its method"


def test_names_of_schemas_are_unique_as_generators_write_them(document: dict[str, Any]) -> None:
    """Generators name a class by its title, and write what is no letter or digit as nothing."""
    schemas = document["components"]["schemas"]
    titles = Counter(re.sub(r"\W|_", "", schema.get("title", name)).lower() for name, schema in schemas.items())
    assert [title for title, count in titles.items() if count > 1] == []
    assert [name for name in schemas if not re.fullmatch(r"[A-Za-z0-9_]+", name) or "__" in name] == []


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from references(item)


def test_every_reference_leads_to_a_component(document: dict[str, Any]) -> None:
    components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= components
    assert '"$defs"' not in str(document).replace("'", '"')


def test_bodies_have_content_types_that_generators_know(document: dict[str, Any]) -> None:
    """Others are described in an extension: a generator leaves out a whole operation, or warns of each."""
    known = {"application/json", "multipart/form-data", "application/octet-stream"}
    for route, operation in operations(document):
        assert set(operation.get("requestBody", {}).get("content", ())) <= known, route
