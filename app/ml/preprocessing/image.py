"""Choices for images: they keep the size that the dataset's preparation gave them, and are scaled to [0, 1]."""

from typing import Literal

from app.ml.interfaces import Encoding, Preprocessing
from app.ml.spec import DataSpec


class ImagePreprocessing(Preprocessing):
    """How images become numbers."""

    kind: Literal["image"] = "image"

    def largest(self, spec: DataSpec) -> Encoding:
        """(C, H, W)."""
        height, width, channels = spec.shape
        return Encoding(shape=(channels, height, width))
