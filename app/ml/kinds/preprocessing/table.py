"""Choices for tables: numbers are standardised, categories get a feature each, dates and texts several."""

from typing import Literal

from pydantic import Field

from app.ml.data.date_parts import HARMONICS
from app.ml.data.words import MAX_DIMENSIONS
from app.ml.interfaces import Encoding, PreprocessingConfig
from app.ml.spec import ColumnSpec, DataSpec

_MAX_WIDTH = {"number": 2, "date": 2 + 2 * sum(HARMONICS.values()), "text": MAX_DIMENSIONS + 1}


class TablePreprocessing(PreprocessingConfig):
    """How rows become numbers."""

    kind: Literal["table"] = "table"
    dates: Literal["parts", "time"] = Field(
        "parts",
        description="What dates give: their month, weekday, hour and day of the month, as far as train rows differ in "
        "these, and the time; or the time alone.",
    )

    def largest(self, spec: DataSpec) -> Encoding:
        """(D',)."""
        return Encoding(shape=(sum(map(_most_features, spec.columns)),))


def _most_features(column: ColumnSpec) -> int:
    return _MAX_WIDTH.get(column.type, len(column.categories) + 1)
