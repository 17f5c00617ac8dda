"""One image file from a stranger: looked at before it is decoded, decoded only within bounds.

Pillow opens 144 million pixels without a word; that does not happen here.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from app.datasets.frames import Bytes
from app.datasets.limits import Limits
from app.ml.data.image_decoding import FAULTS, FORMATS, draw
from app.ml.data.spec import Resize

GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
ORIENTATION = 0x0112
SIDEWAYS = frozenset({5, 6, 7, 8})


class CorruptImageError(Exception):
    """The bytes are no image that can be read; the message says why."""


class HugeImageError(Exception):
    """The image is larger than the limits allow; the message says how large."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an image says of itself before it is decoded; size as it is shown, after its orientation."""

    height: int
    width: int
    gray: bool
    deep: bool
    animated: bool
    transparent: bool


def look(data: bytes, limits: Limits) -> Look:
    """Read the header of an image.

    Raises:
        CorruptImageError: it is none of the accepted formats, or damaged.
        HugeImageError: it has too many pixels, or too long a side.
    """
    with _opened(data, limits) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return Look(
            height=height,
            width=width,
            gray=image.mode in GRAY,
            deep=image.mode.startswith("I"),
            animated=bool(getattr(image, "is_animated", False)),
            transparent=image.has_transparency_data,
        )


def decode(data: bytes, height: int, width: int, *, gray: bool, limits: Limits, resize: Resize = "stretch") -> Bytes:
    """Return the first frame, upright, over black, as uint8 (height, width, 1 or 3).

    Raises:
        CorruptImageError: the data is damaged or cut short.
        HugeImageError: see look.
    """
    with _opened(data, limits) as image:
        return draw(image, height, width, 1 if gray else 3, resize)


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, limits)
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"it has more than {limits.pixels} pixels"
        raise HugeImageError(msg) from error
    except UnidentifiedImageError as error:
        msg = "it is no JPEG, PNG or WebP image"
        raise CorruptImageError(msg) from error
    except FAULTS as error:
        msg = "it is damaged or cut short"
        raise CorruptImageError(msg) from error


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if min(size) < 1:
        msg = "it has no pixels"
        raise CorruptImageError(msg)
    if max(size) > limits.side or width * height > limits.pixels:
        msg = f"it has {width} x {height} pixels; {limits.pixels} pixels and sides of {limits.side} are allowed"
        raise HugeImageError(msg)
