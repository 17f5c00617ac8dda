"""Answers that are kept for the shadow of an alias, which computes them once more."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic_core import to_json

from app.dependencies import Services
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.head_answers import AnswerOptions
from app.predictions.bodies.lazy_rows import LazyRows
from app.predictions.resolution import ResolvedModel, load
from app.predictions.shadow import MAX_WAITING_BYTES, Copy, is_chosen
from app.serving.engine import Rows


class KeptAnswers:
    """Answers that are kept to be compared with those of a shadow, where the alias has one and they are not many."""

    def __init__(
        self,
        model: ResolvedModel,
        inputs: Sequence[Any] | Rows,
        heads: Sequence[str] | None,
        options: AnswerOptions,
    ) -> None:
        self._model, self._inputs, self._heads, self._options = model, inputs, heads, options
        deal = model.deal
        self._is_wanted = deal is not None and deal.shadow is not None and is_chosen(deal.shadow_share)
        self._is_wanted &= options.top_k is None  # else not all of two answers could be compared
        self._answers: list[dict[str, Any]] = []
        self._began, self._size = time.perf_counter(), 0

    def add(self, rows: Rows, answers: list[dict[str, Any]]) -> None:
        """Keep the answers to some rows; once all would be too many, none."""
        if self._is_wanted:
            self._size += sum(map(len, rows)) if rows.dtype == object else rows.nbytes
            self._size += MAX_WAITING_BYTES + 1 if isinstance(self._inputs, LazyRows) else len(to_json(answers))
            self._answers = [*self._answers, *answers] if self._size <= MAX_WAITING_BYTES else []

    def offer(self, state: Services) -> None:
        """Let the shadow compute what was answered; large bodies are not kept for it."""
        deal, heads, options = self._model.deal, self._heads, self._options
        if not self._is_wanted or deal is None or deal.shadow is None:
            return
        shadow = deal.shadow

        def predict_again(inputs: Sequence[Any] | Rows) -> list[dict[str, Any]]:
            predictor = load(state, shadow).model
            with np.errstate(over="ignore", invalid="ignore"):
                return predictor.predict(predictor.decode(inputs, Doubts()), heads, options)

        pair, seconds = (deal.key, self._model.name.id, shadow.name.id), time.perf_counter() - self._began
        state.shadows.offer(Copy(pair, self._inputs, self._answers, seconds, self._size, predict_again))
