"""Predictions of several models for the same inputs; of models on one backbone, it runs once."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic_core import to_json

from app.dependencies import Services
from app.errors import UnprocessableError
from app.ml.interfaces.doubts import Doubts
from app.predictions.answers import Chunk, JsonItems, Reserve, json_pieces
from app.predictions.deadlines import check_deadline
from app.predictions.heads import chosen_heads, refuse_heads
from app.predictions.resolution import ResolvedModel, load, predicting
from app.predictions.schemas import PredictionOptions, Unknown
from app.predictions.service import blocks_of, counted, decoded, ignore_overflow
from app.serving.engine import LoadedModel, Rows


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model that is asked, and which of its heads; None: all."""

    ref: str
    name: ResolvedModel
    model: LoadedModel
    heads: tuple[str, ...] | None
    items: JsonItems
    doubts: Doubts = field(default_factory=Doubts)


def predict(
    state: Services,
    project_id: str,
    refs: Sequence[str],
    inputs: Sequence[Any] | Rows,
    options: PredictionOptions,
    reserve: Reserve,
    *,
    routing_key: str | None = None,
) -> list[Chunk]:
    """Return the predictions of each model for the inputs, as JSON in pieces.

    The heads that are asked for are of any of the models; each answers with those that it has.

    Raises:
        ConflictError: a model has no heads.
        UnprocessableError: a model cannot read the inputs; no model has such a head, or one has none of them.
        TooLargeError, UnavailableError: `reserve` has no memory for the answer.
    """
    resolved = [predicting(state, project_id, ref, routing_key) for ref in refs]
    models = [load(state, model).model for model in resolved]
    asked = [
        _Asked(ref, name, model, heads, JsonItems(len(inputs), reserve))
        for ref, name, model, heads in zip(refs, resolved, models, _chosen(refs, models, options.heads), strict=True)
    ]
    for first, block in blocks_of(inputs, models):
        with state.turns.turn(project_id, goes_on=first > 0), ignore_overflow():
            check_deadline()
            _answer(asked, first, block, options)
    pieces: list[Chunk] = [b'{"models":[']
    for place, each in enumerate(asked):
        *whole, end = json_pieces(each.name.name, "predictions", each.items, counted(state, each.doubts.warnings()))
        pieces += [b"," if place else b"", *whole, bytes(end)[:-1] + b',"ref":%b}' % to_json(each.ref)]
    return [*pieces, b"]}"]


def _chosen(
    refs: Sequence[str], models: Sequence[LoadedModel], heads: Sequence[str] | None
) -> Iterator[tuple[str, ...] | None]:
    """Yield the heads that each model is to answer with. Raises UnprocessableError."""
    every = tuple(dict.fromkeys(key for model in models for key in model.heads))
    keys = chosen_heads(every, heads)
    for ref, model in zip(refs, models, strict=True):
        own = None if keys is None else tuple(key for key in model.heads if key in keys)
        if own == ():
            msg = f"{ref!r} has none of these heads, but {', '.join(map(repr, model.heads))}: leave it out of models"
            raise refuse_heads(msg, "unknown_head")
        yield own


def _answer(asked: Sequence[_Asked], first: int, block: Sequence[Any] | Rows, options: PredictionOptions) -> None:
    """Add the answers of all models to a block of inputs, whose first is the `first` of all."""
    kept: list[tuple[Hashable, Rows, dict[str, Any]]] = []  # by backbone and encoded rows, what it made of them
    for each in asked:
        each.doubts.first = first
        encoded = each.model.encode(_decoded(each, block, options.unknown))
        features = _kept(kept, each.model.backbone, encoded)
        each.items.add(each.model.predict_encoded(encoded, each.heads, options.shown, features))


def _decoded(asked: _Asked, block: Sequence[Any] | Rows, unknown: Unknown) -> Rows:
    try:
        return decoded(asked.model, block, asked.doubts, unknown)
    except UnprocessableError as error:
        msg = f"model {asked.ref!r}: {error.detail}"
        raise UnprocessableError(msg, code=error.code, errors=error.errors) from None


def _kept(kept: list[tuple[Hashable, Rows, dict[str, Any]]], backbone: Hashable, encoded: Rows) -> dict[str, Any]:
    """Return the features that a backbone has of encoded rows, to which others may be added."""
    for other, rows, features in kept:
        if other == backbone and np.array_equal(rows, encoded):
            return features
    kept.append((backbone, encoded, {}))
    return kept[-1][2]
