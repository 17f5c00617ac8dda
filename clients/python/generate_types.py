"""Generates src/graftwork/requests.py and src/graftwork/answers.py from the service's OpenAPI document.

Run `python clients/python/generate_types.py` where the service can be imported. Requests become TypedDicts, whose
fields an editor completes; answers become pydantic models. Routes of other services' protocols, which have clients of
their own, are left out.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

from graftwork.answer import Answer

Schema: TypeAlias = dict[str, Any]

PACKAGE = Path(__file__).parent / "src" / "graftwork"
FOREIGN_PROTOCOLS = ("/v2", "/openai", "/label-studio")
_PRIMITIVES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class Options(NamedTuple):
    """A TypedDict of some fields of a request: all but those that its method takes as parameters of their own."""

    source: str  # a component, or "METHOD /path" followed by the content type of its body or by "query"
    without: str = ""


# By the name of the TypedDict.
OPTIONS = {
    "DatasetOptions": Options("POST /v1/datasets multipart/form-data", "file name"),
    "DatasetFilters": Options("GET /v1/datasets query", "view"),
    "WeightsOptions": Options("POST /v1/models multipart/form-data", "file name architecture"),
    "ModelFilters": Options("GET /v1/models query", "view"),
    "JobFilters": Options("GET /v1/jobs query", "view"),
    "AllJobsFilters": Options("GET /v1/admin/jobs query"),
    "ProjectFilters": Options("GET /v1/admin/projects query"),
    "UploadFilters": Options("GET /v1/uploads query"),
    "WebhookFilters": Options("GET /v1/webhooks query"),
    "DeliveryFilters": Options("GET /v1/webhooks/{webhook_id}/deliveries query"),
    "SweepOptions": Options("SweepRequest", "kind"),
    "EvaluationOptions": Options("EvaluationRequest", "kind model dataset baseline"),
    "RecommendationOptions": Options("RecommendationRequest", "dataset target models"),
    "BatchPredictionOptions": Options("POST /v1/batch_predictions multipart/form-data", "file model"),
    "HeadsOptions": Options("HeadsRequest", "model dataset rows labels target"),
    "GenerationOptions": Options("POST /v1/models/{ref}/generations application/json", "inputs"),
}


def openapi() -> Schema:
    """Return the service's OpenAPI document."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from app.main import create_app  # noqa: PLC0415 - the only need of the service, and tests have it already
    from app.settings import Settings  # noqa: PLC0415 - the same

    with TemporaryDirectory() as folder:
        return create_app(Settings(data=Path(folder))).openapi()


def operations(document: Schema) -> dict[str, Schema]:
    """Return the operations that the client has methods for, by "METHOD /path"."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        if not path.startswith(FOREIGN_PROTOCOLS)
        for method, operation in methods.items()
    }


class Types:
    """Python source of the types that schemas describe; a type stands before the types that use it."""

    sequence, mapping = "", ""

    def __init__(self, document: Schema) -> None:
        self.components: dict[str, Schema] = document["components"]["schemas"]
        self.sources: dict[str, str] = {}
        self.discriminated = {name for schema in self.components.values() for name in _discriminated(schema)}

    def of(self, schema: Schema, hint: str = "") -> str:
        """Return the type expression of a schema; `hint` names an object that has no name of its own."""
        if "$ref" in schema:
            return self.component(schema["$ref"].rpartition("/")[2])
        if "const" in schema or "enum" in schema:
            return f"Literal[{', '.join(map(_literal, schema.get('enum', [schema.get('const')])))}]"
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            return " | ".join(dict.fromkeys(self.of(choice, hint) for choice in choices))
        if schema.get("type") == "array":
            return self.array(schema, hint)
        return self.object(schema, hint) if schema.get("type") == "object" else self.primitive(schema)

    def primitive(self, schema: Schema) -> str:
        """Return the type of a schema without parts."""
        return _PRIMITIVES.get(schema.get("type", ""), "Any")

    def array(self, schema: Schema, hint: str) -> str:
        """Return the type of a list, or of a tuple whose items have types of their own."""
        if "prefixItems" in schema:
            return f"tuple[{', '.join(self.of(item, hint) for item in schema['prefixItems'])}]"
        return f"{self.sequence}[{self.of(schema.get('items', {}), hint)}]"

    def object(self, schema: Schema, hint: str) -> str:
        """Return the type of an object: a class for known fields, else a mapping."""
        if "properties" in schema:
            name = schema.get("title", "").replace(" ", "") or hint
            return self.add(name, schema)
        values = schema.get("additionalProperties", next(iter(schema.get("patternProperties", {}).values()), True))
        return f"{self.mapping}[str, {self.of(values, hint) if isinstance(values, dict) else 'Any'}]"

    def component(self, name: str) -> str:
        """Return the type of a component."""
        schema = self.components[name]
        if "properties" in schema:
            return self.add(_class_name(name), schema)
        python = self.of(schema, name)
        return python if python == "Any" else self.alias(_class_name(name), python)

    def alias(self, name: str, python: str) -> str:
        """Add a name for a type expression."""
        self.sources.setdefault(name, f"{name}: TypeAlias = {python}\n")
        return name

    def add(self, name: str, schema: Schema) -> str:
        """Add a class."""
        if name not in self.sources:
            self.sources[name] = ""  # begun: what refers back to it finds it
            source = self.class_of(name, schema)
            del self.sources[name]
            self.sources[name] = source
        return name

    def class_of(self, name: str, schema: Schema) -> str:
        """Return the source of a class."""
        raise NotImplementedError


class RequestTypes(Types):
    """TypedDicts of requests."""

    sequence, mapping = "Sequence", "Mapping"

    def primitive(self, schema: Schema) -> str:
        """Times may be given as such."""
        return "str | datetime" if schema.get("format") == "date-time" else super().primitive(schema)

    def class_of(self, name: str, schema: Schema) -> str:
        """Return a TypedDict; a `kind` that tells alternatives apart is always required."""
        required = set(schema.get("required", ()))
        if name in self.discriminated:
            required.add("kind")
        lines = [f"class {name}(TypedDict, total=False):", _docstring(schema.get("description") or f"{name}.")]
        for field, part in schema["properties"].items():
            python = self.of(part, name + field.title().replace("_", ""))
            lines.append(f"    {field}: {f'Required[{python}]' if field in required else python}")
            lines += [_docstring(_with_default(part))] if part.get("description") else []
        return "\n".join(lines) + "\n"

    def options(self, name: str, properties: Schema, required: set[str]) -> None:
        """Add the TypedDict of a method's keyword arguments."""
        schema = {"properties": properties, "required": sorted(required & set(properties))}
        self.add(name, {**schema, "description": "Keyword arguments of a method."})


class AnswerTypes(Types):
    """Pydantic models of answers."""

    sequence, mapping = "list", "dict"

    def primitive(self, schema: Schema) -> str:
        """Times are read as such."""
        return "datetime" if schema.get("format") == "date-time" else super().primitive(schema)

    def class_of(self, name: str, schema: Schema) -> str:
        """Return a model, all of whose fields are always present in an answer."""
        lines = [f"class {name}(Answer):", _docstring(schema.get("description") or f"{name}.")]
        for field, part in schema["properties"].items():
            python = self.of(part, name + field.title().replace("_", ""))
            reserved = hasattr(Answer, field)
            lines.append(f"    {field}_: {python} = Field(alias={field!r})" if reserved else f"    {field}: {python}")
            lines += [_docstring(part["description"])] if part.get("description") else []
        return "\n".join(lines) + "\n"


def requests(document: Schema) -> str:
    """Return the source of graftwork/requests.py."""
    types, known = RequestTypes(document), operations(document)
    for operation in known.values():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in json.dumps(body):
            types.of(body)
    for name, (source, without) in OPTIONS.items():
        properties, required = _fields(document, known, source)
        types.options(name, {key: value for key, value in properties.items() if key not in without.split()}, required)
    head = (
        '"""The requests that the service takes, generated from its OpenAPI document by generate_types.py."""\n\n'
        "from collections.abc import Mapping, Sequence\nfrom datetime import datetime\n"
        "from typing import Any, Literal, Required, TypeAlias, TypedDict\n"
    )
    return head + "\n\n" + "\n\n".join(types.sources.values())


def answers(document: Schema) -> str:
    """Return the source of graftwork/answers.py."""
    types = AnswerTypes(document)
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            if status.startswith("2") and schema:
                types.of(schema)
    for name in [name for name in types.sources if name.startswith("Listing")]:
        del types.sources[name]  # methods give their entries
    head = (
        '"""The answers of the service, generated from its OpenAPI document by generate_types.py."""\n\n'
        "from datetime import datetime\nfrom typing import Any, Literal, TypeAlias\n\n"
        "from pydantic import Field\n\nfrom graftwork.answer import Answer\n"
    )
    return head + "\n\n" + "\n\n".join(types.sources.values())


def formatted(source: str, path: Path) -> str:
    """Return source as ruff writes it."""
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    for command in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        done = [*ruff, *command, "--stdin-filename", str(path), "-"]
        source = subprocess.run(done, input=source, capture_output=True, text=True, check=True).stdout
    return source


def generated() -> dict[Path, str]:
    """Return the text of each generated file."""
    document = openapi()
    sources = {PACKAGE / "requests.py": requests(document), PACKAGE / "answers.py": answers(document)}
    return {path: formatted(source, path) for path, source in sources.items()}


def _fields(document: Schema, known: dict[str, Schema], source: str) -> tuple[Schema, set[str]]:
    """Return the schemas of the fields that a source of options has, and which are required."""
    if " " not in source:
        schema = document["components"]["schemas"][source]
    else:
        route, _, part = source.rpartition(" ")
        if part == "query":
            parameters = [entry for entry in known[route]["parameters"] if entry["in"] == "query"]
            return {entry["name"]: entry["schema"] for entry in parameters}, {
                entry["name"] for entry in parameters if entry["required"]
            }
        schema = known[route]["requestBody"]["content"][part]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema["properties"], set(schema.get("required", ()))


def _discriminated(schema: Any) -> set[str]:
    """Return the classes that a field `kind` tells apart, anywhere in a schema."""
    if isinstance(schema, list):
        return set().union(*map(_discriminated, schema))
    if not isinstance(schema, dict):
        return set()
    inside = set().union(*map(_discriminated, schema.values()))
    discriminator = schema.get("discriminator")
    if isinstance(discriminator, dict) and isinstance(discriminator.get("mapping"), dict):
        inside |= {_class_name(ref.rpartition("/")[2]) for ref in discriminator["mapping"].values()}
    return inside


def _class_name(component: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", component.rpartition("__schemas__")[2])


def _literal(value: object) -> str:
    return repr(value)


def _docstring(text: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    return f'    """{text}{" " if text.endswith(chr(34)) else ""}"""'


def _with_default(part: Schema) -> str:
    default = part.get("default")
    return part["description"] + (f" Default: {json.dumps(default)}." if default not in (None, [], {}) else "")


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
