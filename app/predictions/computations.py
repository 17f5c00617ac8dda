"""What operations compute of a batch of rows, which may be of several requests and models."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.ml.interfaces.head_answers import feature_rows
from app.predictions.service import ignore_overflow
from app.serving.batching import Part
from app.serving.engine import LoadedModel, Rows


def _predictions(rows: Rows, parts: Sequence[Part]) -> Sequence[Any]:
    model: LoadedModel = parts[0][0]
    with ignore_overflow():
        if all(other is model for other, _ in parts):
            return model.predict(rows)
        return model.predict_together(rows, parts)


def _embeddings(rows: Rows, parts: Sequence[Part]) -> Sequence[Any]:
    """Return the features of each row as a list; None where they are not finite, which the endpoint refuses."""
    model: LoadedModel = parts[0][0]
    with ignore_overflow():
        features = model.embed(rows)
    if np.isfinite(features).all():
        return feature_rows(features)
    return [feature_rows(row[None])[0] if np.isfinite(row).all() else None for row in features]


COMPUTATIONS = {"predictions": _predictions, "embeddings": _embeddings}
"""What an operation answers to rows (N, ...) of models of one family: an item for each, under the operation's name."""
