"""From an opened picture to bytes: one way for preparation and for serving, so that a model sees what it learned from.

Pillow and NumPy only, so that readers of datasets stay light.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP")
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


def draw(picture: Image.Image, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Return the first frame, upright, as uint8 (height, width, channels); channels is a key of MODES.

    16-bit gray is scaled to 8 bits, transparency is laid over black where no channel is left for it, and other sizes
    are resized bilinearly. Raises one of FAULTS.
    """
    picture.load()
    drawn = ImageOps.exif_transpose(picture)
    if drawn.mode.startswith("I"):
        drawn = _eight_bits(drawn)
    mode = MODES[channels]
    if drawn.has_transparency_data and "A" not in mode:
        drawn = _over_black(drawn)
    drawn = drawn.convert(mode)
    if drawn.size != (width, height):
        drawn = drawn.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(drawn, dtype=np.uint8).reshape(height, width, channels)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits: 65535 becomes 255; Pillow would clip it to white."""
    values = np.asarray(picture).astype(np.float64)
    return Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8))


def _over_black(picture: Image.Image) -> Image.Image:
    clear = picture.convert("RGBA")
    black = Image.new("RGBA", clear.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, clear).convert("RGB")
