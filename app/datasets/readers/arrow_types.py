"""What a Parquet file says of its columns: Arrow types that are read, and what Hugging Face's datasets add to them."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from app.datasets.columns.names import is_called_labels

HUGGINGFACE = b"huggingface"
Names = tuple[str, ...]


def is_text(kind: Any) -> bool:
    """Return whether values are texts, dictionary-encoded or not."""
    if pt.is_dictionary(kind):
        kind = kind.value_type
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def is_labels(kind: Any) -> bool:
    """Return whether values are lists of texts."""
    return bool(_is_list(kind) and is_text(kind.value_type))


def is_number(kind: Any) -> bool:
    """Return whether values are numbers or booleans, decimals too, dictionary-encoded or not."""
    if pt.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_null(kind) or pt.is_decimal(kind)
    )


def is_whole(kind: Any) -> bool:
    """Return whether numbers are whole by their type."""
    if pt.is_dictionary(kind):
        kind = kind.value_type
    return bool(pt.is_integer(kind) or pt.is_boolean(kind) or (pt.is_decimal(kind) and kind.scale <= 0))


def is_date(kind: Any) -> bool:
    """Return whether values are dates or times of a date."""
    return bool(pt.is_date(kind) or pt.is_timestamp(kind))


def is_span(kind: Any) -> bool:
    """Return whether values are times of a day or spans of time, which are read as seconds."""
    return bool(pt.is_time(kind) or pt.is_duration(kind))


def is_vector(kind: Any) -> bool:
    """Return whether values are lists of numbers, or lists of such lists."""
    if not (_is_list(kind) or pt.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return is_number(inner) or ((_is_list(inner) or pt.is_fixed_size_list(inner)) and is_number(inner.value_type))


def holds_number_labels(name: str, fields: dict[str, Any]) -> bool:
    """Return whether a column holds lists of whole numbers that are labels: by its name, as the only lists of a row."""
    kind = fields[name].type
    numbered = _is_list(kind) and pt.is_integer(kind.value_type) and is_called_labels(name)
    return numbered and len(fields) > 1 and sum(is_vector(field.type) for field in fields.values()) == 1


def is_picture(kind: Any) -> bool:
    """Return whether values may be image files: bytes, or bytes with a path as Hugging Face writes them."""
    if pt.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def why_unsupported(kind: Any) -> str | None:
    """Return what to do with a column of a type that is not read; None where it is read."""
    if any(reads(kind) for reads in (is_text, is_labels, is_number, is_date, is_span, is_vector, is_picture)):
        return None
    if _is_list(kind) and pt.is_struct(kind.value_type):
        names = {field.name for field in kind.value_type}
        if {"role", "content"} <= names or {"from", "value"} <= names:
            return "it holds chat messages; write each conversation as one text, in one column of text"
        return "write its items as lists of text (labels) or of numbers, or each as a row of its own"
    if pt.is_struct(kind):
        fields = ", ".join(field.name for field in list(kind)[:5])
        return f"write a column for each of its fields ({fields})"
    return "use numbers, booleans, dates, text, images, or lists of text or numbers"


def class_names(schema: Any) -> dict[str, Names]:
    """Return the names of the classes that a schema of Hugging Face's datasets gives to columns of numbers."""
    try:
        stored = json.loads((schema.metadata or {}).get(HUGGINGFACE, b"{}"))
        features = stored["info"]["features"]
        return {name: names for name, feature in features.items() if (names := _names_in(feature))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _names_in(feature: Any) -> Names:
    """Return the names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_in(feature[0])
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        if isinstance(names, list) and all(isinstance(name, str) for name in names) and len({*names}) == len(names):
            return tuple(names)
        return ()
    return _names_in(feature.get("feature"))


def _is_list(kind: Any) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def _is_binary(kind: Any) -> bool:
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or kind == pa.binary_view())
