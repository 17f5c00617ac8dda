"""The range of deep pixels, of more than 8 bits, that becomes 0 .. 255: the same for all images of a dataset."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Ints
from app.datasets.report import Notes
from app.ml.spec import PixelRange, WarningCode

BITS = 16
FULL_RANGE: PixelRange = (0, (1 << BITS) - 1)
HALF = 1 << (BITS - 1)
MIN_LEVELS = 16
MAX_DARK_LEVEL = 31
TAIL = 0.005


def warn_of_dark(brightest: float, images: int, remedy: str, notes: Notes) -> None:
    """Warn where images use few of the 256 levels, as those of 0 .. 16 do: what they show is nearly black."""
    if 0 < brightest <= MAX_DARK_LEVEL:
        message = f"no pixel is above {brightest:g} of 255, so that all images are nearly black"
        notes.warn(WarningCode.FEW_LEVELS, message, count=images, remedy=remedy)


class DeepPixels:
    """Counts pixels of 16 bits, signed or not: `add` all of them, then choose their `range`."""

    def __init__(self) -> None:
        self._counts: Ints = np.zeros(HALF + (1 << BITS), dtype=np.int64)
        self.images = 0

    def add(self, pixels: npt.NDArray[Any], images: int = 1) -> None:
        """Count pixels of any shape; what 16 bits cannot hold counts as the nearest that they can."""
        values = pixels.astype(np.int64).clip(-HALF, FULL_RANGE[1]).reshape(-1)
        self._counts += np.bincount(values + HALF, minlength=len(self._counts))
        self.images += images

    def range(self, notes: Notes) -> PixelRange:
        """Return the values that become 0 and 255: all that 16 bits hold where pixels need them, else their range."""
        values = np.flatnonzero(self._counts) - HALF
        low, high = int(values[0]), int(values[-1])
        narrow = 0 < high - low < HALF
        chosen: PixelRange = (low, high) if narrow or low < 0 else FULL_RANGE
        why = f"{self.images} images have 16 bits a pixel, with values from {low} to {high}"
        other = "[0, 65535]" if narrow else f"[{low}, {high}]"
        notes.decide("image.pixel_range", f"{chosen[0]:g} .. {chosen[1]:g}", why, _option(other))
        self._warn_of_few_levels(chosen, notes)
        return chosen

    def _warn_of_few_levels(self, chosen: PixelRange, notes: Notes) -> None:
        """Warn where nearly all pixels, without the most frequent value, share few of the 256 levels."""
        counts = self._counts.copy()
        counts[counts.argmax()] = 0
        if not counts.any():
            return
        cumulated = np.cumsum(counts) / counts.sum()
        low, high = (int(np.searchsorted(cumulated, share)) - HALF for share in (TAIL, 1 - TAIL))
        levels = (high - low) * 255 / (chosen[1] - chosen[0])
        if levels < MIN_LEVELS < high - low:
            message = f"nearly all pixels lie between {low} and {high}, which is {levels:.1f} of 256 levels of "
            message += f"{chosen[0]:g} .. {chosen[1]:g}: differences between them are lost"
            notes.warn(WarningCode.FEW_LEVELS, message, count=self.images, remedy=_option(f"[{low}, {high}]"))


def _option(values: str) -> str:
    return f'image={{"pixel_range": {values}}}'
