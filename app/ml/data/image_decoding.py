"""From an opened picture to bytes: one way for preparation and for serving, so that a model sees what it learned from.

Pillow and NumPy only, so that readers of datasets stay light.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.ml.spec import Background, PixelRange, Resize, ValueScale

FORMATS = ("JPEG", "PNG", "WEBP")
ROUNDING = 0.5 / 255  # numbers in 0 .. 1 may lie outside by what rounding to bytes loses anyway
FULL_RANGE: PixelRange = (0, 65535)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    UnicodeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises of damaged pictures while they are opened or drawn."""


def draw(
    picture: Image.Image,
    height: int,
    width: int,
    channels: int,
    resize: Resize = "stretch",
    background: Background | None = None,
    pixel_range: PixelRange | None = None,
) -> NDArray[np.uint8]:
    """Return the first frame, upright, as uint8 (height, width, channels); channels is a key of MODES.

    16-bit gray is scaled to 8 bits, so that `pixel_range` (all that 16 bits hold) becomes 0 .. 255, transparency is
    laid over the `background` (black) where no channel is left for it, and other sizes are resized bilinearly:
    `stretch` scales each side on its own; `pad` scales both alike until all of the picture is there, in the middle of
    black; `crop` until nothing but the picture is there, its middle. Raises one of FAULTS.
    """
    picture.load()
    drawn = ImageOps.exif_transpose(picture)
    if drawn.mode.startswith("I"):
        drawn = Image.fromarray(to_bytes(np.asarray(drawn), 1, pixel_range or FULL_RANGE))
    mode = MODES[channels]
    if drawn.has_transparency_data and "A" not in mode:
        drawn = _over(drawn, background or "black")
    drawn = drawn.convert(mode)
    if drawn.size != (width, height):
        drawn = _RESIZES[resize](drawn, width, height)
    return np.asarray(drawn, dtype=np.uint8).reshape(height, width, channels)


def _stretched(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _padded(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / picture.width, height / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = Image.new(picture.mode, (width, height))
    canvas.paste(_stretched(picture, *inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _cropped(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = max(width / picture.width, height / picture.height)
    left = max(0.0, (picture.width - width / scale) / 2)
    top = max(0.0, (picture.height - height / scale) / 2)
    box = (left, top, picture.width - left, picture.height - top)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


_RESIZES: dict[Resize, Callable[[Image.Image, int, int], Image.Image]] = {
    "stretch": _stretched,
    "pad": _padded,
    "crop": _cropped,
}


def _over(picture: Image.Image, background: Background) -> Image.Image:
    clear = picture.convert("RGBA")
    opaque = Image.new("RGBA", clear.size, background)
    return Image.alpha_composite(opaque, clear).convert("RGB")


def to_bytes(values: NDArray[Any], scale: ValueScale, pixel_range: PixelRange | None) -> NDArray[np.uint8]:
    """Return numbers of any shape as bytes: times `scale`, or so that `pixel_range` becomes 0 .. 255; rounded, clipped.

    One way for arrays and for numbers in JSON. Numbers are multiplied in float32, and brought to a range in float64.
    """
    if pixel_range is None:
        pixels = values.astype(np.float32) * np.float32(scale)
    else:
        low, high = pixel_range
        pixels = (values.astype(np.float64) - low) * (255 / (high - low))
    as_bytes: NDArray[np.uint8] = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return as_bytes
