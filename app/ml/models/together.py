"""Answers of several models on one backbone: its features once, and linear heads of one shape as one product.

A linear head multiplies standardised features by its weights, W (x - mean) / std + b, which is W' x + b' with
W' = W / std and b' = b - W' mean. For rows (n, F), each with the head that it is for, the outputs are
W'[head] x[row] + b'[head]: a batched product (n, K, F) x (n, F, 1).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.ml.blocks.arrays import Array
from app.ml.interfaces import Head
from app.ml.interfaces.abilities import Stackable

Answers = list[dict[str, Any]]
Alone = Callable[[Head, Array, slice], list[Any]]
"""Answers features (n, F) by one head; the slice says which rows of the batch they are of."""


@dataclass(frozen=True, slots=True)
class Part:
    """The next `count` rows of a batch, the heads that they are for, by key, and whose features these take."""

    heads: Mapping[str, Head]
    count: int
    source: str


class _Entry(NamedTuple):
    key: str
    head: Head
    rows: range  # of the batch


def answers_of(parts: Sequence[Part], features: Mapping[str, Array], alone: Alone) -> Answers:
    """Return an answer {head key: JSON} for each row, from features (N, F) by source."""
    answers: Answers = [dict.fromkeys(part.heads) for part in parts for _ in range(part.count)]
    stacks: dict[Any, list[_Entry]] = defaultdict(list)
    end = 0
    for part in parts:
        rows = range(end, end := end + part.count)
        for key, head in part.heads.items():
            stack = head.stack_key if isinstance(head, Stackable) else head
            stacks[part.source, stack].append(_Entry(key, head, rows))
    for (source, _), entries in stacks.items():
        values = iter(_values(entries, features[source], alone))
        for entry in entries:
            for row in entry.rows:
                answers[row][entry.key] = next(values)
    return answers


def _values(entries: Sequence[_Entry], features: Array, alone: Alone) -> list[Any]:
    if len(entries) > 1:
        return _together(entries, features)
    rows = slice(entries[0].rows.start, entries[0].rows.stop)
    return alone(entries[0].head, features[rows], rows)


def _together(entries: Sequence[_Entry], features: Array) -> list[Any]:
    heads = [entry.head for entry in entries if isinstance(entry.head, Stackable)]
    counts = [len(entry.rows) for entry in entries]
    weights, biases = (np.stack(each) for each in zip(*(head.folded for head in heads), strict=True))
    if set(counts) != {1}:
        weights, biases = weights.repeat(counts, axis=0), biases.repeat(counts, axis=0)
    rows = [row for entry in entries for row in entry.rows]
    outputs = np.matmul(weights, features[rows][:, :, None])[:, :, 0]
    outputs += biases
    return heads[0].answer_stacked(heads, counts, outputs)
