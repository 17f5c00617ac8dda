"""Choices for tables: numbers are standardised, categories get a feature each, texts some dozens."""

from typing import Literal

from app.ml.data.words import MAX_DIMENSIONS
from app.ml.interfaces import Encoding, PreprocessingConfig
from app.ml.spec import ColumnSpec, DataSpec

_MAX_WIDTH = {"number": 2, "date": 8, "text": MAX_DIMENSIONS + 1}


class TablePreprocessing(PreprocessingConfig):
    """How rows become numbers."""

    kind: Literal["table"] = "table"

    def largest(self, spec: DataSpec) -> Encoding:
        """(D',)."""
        return Encoding(shape=(sum(map(_most_features, spec.columns)),))


def _most_features(column: ColumnSpec) -> int:
    return _MAX_WIDTH.get(column.type, len(column.categories) + 1)
