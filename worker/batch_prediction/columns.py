"""The columns of the results: each row's number, what was copied of it, its answers flat, its warnings and its error.

A prediction {"size": {"class": "large", "probabilities": {"large": 0.9, ...}}} becomes the columns `size.class`,
`size.probabilities.large` and so on, an interval its two ends, and an embedding one list.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from app.batch_predictions.row_files.base import ColumnType
from worker.batch_prediction.answers import Answers

ROW, FILE, SPLIT, ERROR, WARNINGS, EMBEDDING = "row", "file", "split", "error", "warnings", "embedding"
MAX_FLAT = 256  # numbers by name that become columns; more become one column of JSON
_TYPES: dict[ColumnType, Any] = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
_ENDS = ("low", "high")
_MAX_WHOLE = 2**63


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One number, text or list of the predictions: where it is in them, and the type of its column."""

    path: tuple[str | int, ...]
    name: str
    type: Any

    def of(self, answer: Mapping[str, Any]) -> Any:
        """Return its value in an answer."""
        value: Any = answer
        for key in self.path:
            value = value[key]
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


class Columns:
    """The columns of a job's results; `kept` are those that are copied, {name: type}; F `features` of an embedding."""

    def __init__(
        self,
        kept: Mapping[str, ColumnType],
        fixed: Sequence[str],
        sample: Mapping[str, Any],
        features: int | None,
    ) -> None:
        self._kept, self._fixed = kept, fixed
        self._leaves = [leaf for key, value in sample.items() for leaf in _leaves((key,), key, value)]
        own = {ROW, ERROR, WARNINGS, EMBEDDING, *fixed, *(leaf.name for leaf in self._leaves)}
        self._names = {name: f"input.{name}" if name in own else name for name in kept}
        embedding = [] if features is None else [(EMBEDDING, pa.list_(pa.float32(), features))]
        self.schema = pa.schema(
            [
                (ROW, pa.int64()),
                *((name, pa.string()) for name in fixed),
                *((self._names[name], _TYPES[kind]) for name, kind in kept.items()),
                *((leaf.name, leaf.type) for leaf in self._leaves),
                *embedding,
                (WARNINGS, pa.list_(pa.string())),
                (ERROR, pa.string()),
            ]
        )
        self._features = features

    def batch(
        self,
        numbers: Sequence[int],
        fixed: Mapping[str, Sequence[str | None]],
        kept: Mapping[str, Sequence[Any]],
        answers: Answers,
    ) -> Any:
        """Return a block's rows (n) as an Arrow batch; `numbers` are those of its rows."""
        count = len(numbers)
        by_place: list[Any] = [None] * count
        for place, prediction in zip(answers.places, answers.predictions, strict=False):
            by_place[place] = prediction
        arrays = [
            pa.array(numbers, pa.int64()),
            *(pa.array(fixed[name], pa.string()) for name in self._fixed),
            *(_kept_array(kept[name], kind) for name, kind in self._kept.items()),
            *(
                pa.array([None if row is None else leaf.of(row) for row in by_place], leaf.type)
                for leaf in self._leaves
            ),
        ]
        if self._features is not None:
            arrays.append(_embeddings(answers, count, self._features))
        arrays += [
            _warnings(answers, count),
            pa.array([answers.errors.get(place) for place in range(count)], pa.string()),
        ]
        return pa.record_batch(arrays, schema=self.schema)


def _leaves(path: tuple[str | int, ...], name: str, value: Any) -> list[_Leaf]:
    """Return the leaves of a value of the sample."""
    match value:
        case dict() if len(value) <= MAX_FLAT:
            return [leaf for key, item in value.items() for leaf in _leaves((*path, key), f"{name}.{key}", item)]
        case dict():
            return [_Leaf(path, name, pa.string())]
        case [int() | float(), int() | float()]:
            return [_Leaf((*path, end), f"{name}.{_ENDS[end]}", pa.float64()) for end in range(2)]
        case list():
            return [_Leaf(path, name, pa.list_(pa.string() if not value else _type(value[0])))]
        case _:
            return [_Leaf(path, name, _type(value))]


def _type(value: Any) -> Any:
    match value:
        case bool():
            return pa.bool_()
        case int():
            return pa.int64()
        case str():
            return pa.string()
        case _:
            return pa.float64()


def _kept_array(values: Sequence[Any], kind: ColumnType) -> Any:
    """Return a copied column; values that its type does not hold, as in a damaged row, are missing."""
    if kind == "text":
        return pa.array([_text(value) for value in values], pa.string())
    return pa.array([value if _fits(value, kind) else None for value in values], _TYPES[kind])


def _fits(value: Any, kind: ColumnType) -> bool:
    if kind == "truth":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) if kind == "number" else isinstance(value, int) and abs(value) < _MAX_WHOLE


def _text(value: Any) -> str | None:
    """Return a value as text: JSON where it is none."""
    if value is None or isinstance(value, str):
        return None if value is None else value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def _embeddings(answers: Answers, count: int, features: int) -> Any:
    """Return embeddings (count) as lists of F numbers, null for rows without one."""
    values = np.zeros((count, features), np.float32)
    missing = np.ones(count, dtype=bool)
    if answers.places and answers.embeddings is not None:
        values[answers.places] = answers.embeddings
        missing[answers.places] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), features, mask=pa.array(missing))


def _warnings(answers: Answers, count: int) -> Any:
    """Return the warnings of each row, "code: what"; null where there is none."""
    by_place: dict[int, list[str]] = {}
    for doubt in answers.doubts:
        by_place.setdefault(doubt.place, []).append(f"{doubt.code}: {doubt.words}" if doubt.words else str(doubt.code))
    return pa.array([by_place.get(place) for place in range(count)], pa.list_(pa.string()))
