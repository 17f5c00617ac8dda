"""What a JSON Schema expects at a place of a document, in words; and the schema of a form.

Only what pydantic writes is known: references, unions, discriminators by `kind`, properties (by pattern, too), items.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Node: TypeAlias = Mapping[str, Any]
Place: TypeAlias = Sequence[str | int]

KIND = "kind"
MAX_DEPTH = 4
MAX_SHOWN = 20
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema with the definitions that its references name, by their last part."""

    root: Node
    definitions: Mapping[str, Node]

    def at(self, document: Any, place: Place) -> list[Node]:
        """Return what is expected at `place`: the branches of unions that the document has chosen by its kinds."""
        nodes = self._branches(self.root)
        value = document
        for part in place:
            nodes = [child for node in _of_kind(nodes, value) for child in self._children(node, part)]
            value = _inside(value, part)
        return nodes

    def fields(self, document: Any, place: Place) -> list[str]:
        """Return the names of the fields that the object at `place` may have, sorted."""
        value = document
        for part in place:
            value = _inside(value, part)
        nodes = _of_kind(self.at(document, place), value)
        return sorted({name for node in nodes for name in node.get("properties", {})})

    def paths(self, document: Any, place: Place) -> dict[str, list[str]]:
        """Return the fields below `place`, nearest first: their names and by which dotted paths they are reached.

        Where the document has chosen no kind, the fields of all kinds count.
        """
        value = document
        for part in place:
            value = _inside(value, part)
        paths: dict[str, list[str]] = {}
        level = [("", node, value) for node in _of_kind(self.at(document, place), value)]
        for _ in range(MAX_DEPTH):
            below = []
            for prefix, node, inner in level:
                for name, child in node.get("properties", {}).items():
                    path = f"{prefix}{name}"
                    if path not in paths.setdefault(name, []):
                        paths[name].append(path)
                        chosen = _inside(inner, name)
                        below += [(f"{path}.", kind, chosen) for kind in _of_kind(self._branches(child), chosen)]
            level = below
        return paths

    def _branches(self, node: Node) -> list[Node]:
        """Return a node without references and unions: one node for each branch."""
        if "$ref" in node:
            return self._branches(self.definitions[node["$ref"].rpartition("/")[2]])
        for union in ("oneOf", "anyOf", "allOf"):
            if union in node:
                return [branch for inner in node[union] for branch in self._branches(inner)]
        return [node]

    def _children(self, node: Node, part: str | int) -> Iterator[Node]:
        if isinstance(part, int):
            child = node.get("items")
        else:
            patterns = node.get("patternProperties", {})
            matching = next((child for pattern, child in patterns.items() if re.search(pattern, part)), None)
            child = node.get("properties", {}).get(part, matching or node.get("additionalProperties"))
        if isinstance(child, Mapping):
            yield from self._branches(child)


def kinds_of(nodes: Sequence[Node]) -> list[str]:
    """Return the kinds among some nodes, in order."""
    found = (node.get("properties", {}).get(KIND, {}).get("const") for node in nodes)
    return [kind for kind in found if kind is not None]


def in_words(nodes: Sequence[Node]) -> str:
    """Return what nodes expect, as the end of "this is ..."."""
    kinds = kinds_of(nodes)
    words = [f"an object with a kind: {', '.join(kinds)}"] if kinds else []
    for node in nodes:
        if "const" in node:
            words.append(json.dumps(node["const"]))
        elif "enum" in node:
            words.append(f"one of {', '.join(map(json.dumps, node['enum'][:MAX_SHOWN]))}")
        elif KIND not in node.get("properties", {}):
            words.append(_TYPES.get(node.get("type", ""), "something else"))
    return " or ".join(dict.fromkeys(words))


def _of_kind(nodes: Sequence[Node], value: Any) -> list[Node]:
    """Return the nodes of the kind that an object says it is of; all of them where it says none, or none of them."""
    kind = value.get(KIND) if isinstance(value, dict) else None
    chosen = [node for node in nodes if node.get("properties", {}).get(KIND, {}).get("const", kind) == kind]
    return chosen if kind is not None and chosen else list(nodes)


def _inside(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def list_fields(schema: Node) -> dict[str, set[str]]:
    """Return the fields of a model that may be lists, each with the other JSON types that it may be of."""
    definitions = schema.get("$defs", {})

    def types(node: Node) -> set[str]:
        if "$ref" in node:
            return types(definitions[node["$ref"].rpartition("/")[2]])
        options = node.get("anyOf", node.get("oneOf"))
        return set().union(*map(types, options)) if options else {node.get("type", "")}

    by_name = {name: types(field) for name, field in schema["properties"].items()}
    return {name: of_field - {"array"} for name, of_field in by_name.items() if "array" in of_field}


def form_body(
    options: Mapping[str, Any], file: str, fields: Node | None = None, examples: Sequence[Node] = ()
) -> dict[str, Any]:
    """Return the OpenAPI request body of a form with a file, which FastAPI cannot derive: it is read as a stream.

    Args:
        options: The JSON Schema of the model of the form's other fields.
        file: The description of the file.
        fields: Schemas of required fields that are none of the model's.
        examples: Forms, with the text of their file.
    """
    fields = {"file": {"type": "string", "format": "binary", "description": file}, **(fields or {})}
    schema = {
        "type": "object",
        "examples": list(examples),
        "$defs": options.get("$defs", {}),
        "required": [*fields, *options.get("required", ())],
        "properties": {**fields, **_without_constants(options["properties"])},
    }
    lists = [name for name, field in options["properties"].items() if '"type": "array"' in json.dumps(field)]
    encoding = {name: {"contentType": "application/json"} for name in lists}  # and not as a part for each item
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def _without_constants(schema: Any) -> Any:
    """Return a schema with an enumeration of one value for a constant, which generated clients cannot send in forms."""
    if isinstance(schema, list):
        return [_without_constants(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {key: _without_constants(value) for key, value in schema.items() if key != "const"}
    return rest | ({"enum": [schema["const"]]} if "const" in schema else {})
