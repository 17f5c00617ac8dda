"""Choices for images: they keep the size that the dataset's preparation gave them, and are scaled to [0, 1].

How other sizes are brought to it is said there, too (`image.resize`), and becomes part of the model: it treats the
pictures that it is asked about in the same way.
"""

from typing import Literal

from pydantic import Field

from app.ml.interfaces import Encoding, PreprocessingConfig
from app.ml.spec import DataSpec


class ImagePreprocessing(PreprocessingConfig):
    """How images become numbers."""

    kind: Literal["image"] = "image"
    scaling: Literal["unit"] = Field("unit", description="How bytes become numbers: unit is x / 255.")

    def largest(self, spec: DataSpec) -> Encoding:
        """(C, H, W)."""
        height, width, channels = spec.shape
        return Encoding(shape=(channels, height, width))
