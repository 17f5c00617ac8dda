"""What lies under transparent images: the background on which all of them show what they show."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.report import Notes
from app.ml.spec import Background, WarningCode

MIN_CONTRAST = 16
MAX_DARK = 64
MAX_ROW_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Ink:
    """What a transparent image shows: its mean brightness, and its largest contrast to each background, 0 .. 255."""

    brightness: float
    contrast: dict[Background, float]

    def hidden_by(self, background: Background) -> bool:
        """Return whether it can hardly be seen on the background."""
        return self.contrast[background] < MIN_CONTRAST


def ink_of(image: Image.Image) -> Ink | None:
    """Return what a picture shows through its transparency; None where it has none."""
    pixels = np.asarray(image.convert("RGBA"))
    opacity = pixels[..., 3] / 255
    if opacity.min() == 1:
        return None
    brightness = np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("L"), dtype=np.float64)
    mean = float((opacity * brightness).sum() / max(opacity.sum(), 1e-9))
    black, white = (opacity * brightness).max(), (opacity * (255 - brightness)).max()
    return Ink(mean, {"black": float(black), "white": float(white)})


def choose_background(inks: Mapping[int, Ink], images: int, chosen: Background | None, notes: Notes) -> Background:
    """Return the background of all images: the chosen one, else that which hides fewer, else white for dark ink.

    `inks` are those of the transparent images, by row.

    Raises:
        DatasetError: bad_image: the chosen background hides most images.
    """
    hidden = {
        background: [row for row, ink in inks.items() if ink.hidden_by(background)] for background in ("black", "white")
    }
    brightness = float(np.mean([ink.brightness for ink in inks.values()]))
    background: Background = "black"
    if (len(hidden["white"]), brightness >= MAX_DARK) < (len(hidden["black"]), True):
        background = "white"
    background = chosen or background
    other: Background = "black" if background == "white" else "white"
    option = f'image={{"background": "{other}"}}'
    notes.notice(f"{len(inks)} images are transparent and were laid over {background}")
    if chosen is None:
        why = f"{len(inks)} images are transparent, and what they show has a mean brightness of {brightness:.0f} of 255"
        notes.decide("image.background", background, why, option)
    lost = hidden[background]
    message = f"{len(lost)} of {images} images show next to nothing over {background}"
    if 2 * len(lost) > images:
        errors = [RowError(("file",), message, row) for row in lost[:MAX_ROW_ERRORS]]
        raise DatasetError(
            Code.BAD_IMAGE, f"{message}: send {option}, or draw them on a background of their own", errors
        )
    if lost:
        notes.warn(WarningCode.HIDDEN_INK, message, count=len(lost), rows=lost, remedy=f"{option}, or take them out")
    return background
