"""Answers of several models on one backbone: its features once, and linear heads of one shape as one product.

A linear head multiplies standardised features by its weights, W (x - mean) / std + b, which is W' x + b' with
W' = W / std and b' = b - W' mean. For rows (n, F), each with the head that it is for, the outputs are
W'[head] x[row] + b'[head]: a batched product (n, K, F) x (n, F, 1).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from app.ml.interfaces import Head
from app.ml.interfaces.abilities import Stackable

Answers = list[dict[str, Any]]


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


def answers_of(parts: Sequence[Part], features: Mapping[str, Tensor], inputs: Tensor) -> Answers:
    """Return an answer {head key: JSON} for each row, from features (N, F) by source and encoded rows (N, *shape)."""
    answers: Answers = [dict.fromkeys(part.heads) for part in parts for _ in range(part.count)]
    stacks: dict[Any, list[_Entry]] = defaultdict(list)
    end = 0
    for part in parts:
        rows = range(end, end := end + part.count)
        for key, head in part.heads.items():
            stack = head.stack_key if isinstance(head, Stackable) else head
            stacks[part.source, stack].append(_Entry(key, head, rows))
    for (source, _), entries in stacks.items():
        given = features[source]
        values = iter(_together(entries, given) if len(entries) > 1 else _alone(entries[0], given, inputs))
        for entry in entries:
            for row in entry.rows:
                answers[row][entry.key] = next(values)
    return answers


def _alone(entry: _Entry, features: Tensor, inputs: Tensor) -> list[Any]:
    rows = slice(entry.rows.start, entry.rows.stop)
    return entry.head.predict(entry.head.read(features[rows], inputs[rows]))


def _together(entries: Sequence[_Entry], features: Tensor) -> list[Any]:
    heads = [entry.head for entry in entries if isinstance(entry.head, Stackable)]
    counts = [len(entry.rows) for entry in entries]
    weights, biases = (torch.stack(each) for each in zip(*(head.folded for head in heads), strict=True))
    if set(counts) != {1}:
        repeats = torch.tensor(counts, device=weights.device)
        weights, biases = weights.repeat_interleave(repeats, dim=0), biases.repeat_interleave(repeats, dim=0)
    rows = [row for entry in entries for row in entry.rows]
    outputs = torch.baddbmm(biases.unsqueeze(2), weights, features[rows].unsqueeze(2)).squeeze(2)
    return heads[0].answer_stacked(heads, counts, outputs)
