"""From an opened picture to bytes: one way for preparation and for serving, so that a model sees what it learned from.

Pillow and NumPy only, so that readers of datasets stay light.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.ml.spec import Resize

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


def draw(picture: Image.Image, height: int, width: int, channels: int, resize: Resize = "stretch") -> NDArray[np.uint8]:
    """Return the first frame, upright, as uint8 (height, width, channels); channels is a key of MODES.

    16-bit gray is scaled to 8 bits, transparency is laid over black where no channel is left for it, and other sizes
    are resized bilinearly: `stretch` scales each side on its own; `pad` scales both alike until all of the picture is
    there, in the middle of black; `crop` until nothing but the picture is there, its middle. Raises one of FAULTS.
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


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits: 65535 becomes 255; Pillow would clip it to white."""
    values = np.asarray(picture).astype(np.float64)
    return Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8))


def _over_black(picture: Image.Image) -> Image.Image:
    clear = picture.convert("RGBA")
    black = Image.new("RGBA", clear.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, clear).convert("RGB")
