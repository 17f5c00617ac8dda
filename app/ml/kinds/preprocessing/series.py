"""Choices for series: how values are scaled."""

from typing import Literal

from pydantic import Field

from app.ml.interfaces import Encoding, PreprocessingConfig
from app.ml.spec import DataSpec


class SeriesPreprocessing(PreprocessingConfig):
    """How series become numbers."""

    kind: Literal["series"] = "series"
    scaling: Literal["channel", "series"] = Field(
        "channel",
        description="Standardise by every channel's train values, or every series by its own, which forgets its level.",
    )

    def largest(self, spec: DataSpec) -> Encoding:
        """(C + 1, T)."""
        steps, channels = spec.shape
        return Encoding(shape=(channels + 1, steps))
