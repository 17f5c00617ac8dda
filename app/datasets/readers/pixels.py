"""Decodes untrusted image files: checked by their headers first, decoded only within the limits; resizes images.

Pillow opens images of 144 million pixels without a warning; these limits are lower.
"""

import io
import json
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError, features

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Bytes
from app.datasets.limits import Limits
from app.datasets.readers.backgrounds import Ink, ink_of
from app.datasets.readers.ranges import DeepPixels
from app.ml.data.image_decoding import FAULTS, FORMATS, draw
from app.ml.spec import Background, PixelRange, Resize

GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
ORIENTATION = 0x0112  # the EXIF tag
PNG = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
CHANNELS = {"gray": 1, "rgb": 3}
ROTATED = frozenset({5, 6, 7, 8})
DECODING = 1
"""To be raised where `decode`, or the digests or sketches of images, give other bytes for the same file."""


class CorruptImageError(Exception):
    """The bytes are no image that can be decoded; the message says why."""


class HugeImageError(Exception):
    """The image is larger than the limits; the message says how large."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image says; the size is that of the upright image.

    `ink` is None of an image without holes. `brightest` is the largest of the upper 8 bits of an image with 16 bits a
    colour, None of others: Pillow reads no more of them.
    """

    height: int
    width: int
    gray: bool
    deep: bool
    animated: bool
    ink: Ink | None
    brightest: int | None


@dataclass(frozen=True, slots=True)
class Drawing:
    """How all images of a dataset become bytes: their size and channels, and as `draw` says."""

    height: int
    width: int
    channels: int
    resize: Resize = "stretch"
    background: Background | None = None
    pixel_range: PixelRange | None = None

    @property
    def decoding(self) -> str:
        """How files become bytes, as text that differs wherever the bytes may: this, our code and the libraries."""
        libraries = {name: features.version(name) for name in ("jpg", "libjpeg_turbo", "webp")}
        return json.dumps([DECODING, PIL.__version__, libraries, asdict(self)], sort_keys=True)


def read_info(data: bytes, limits: Limits, deep_pixels: DeepPixels) -> ImageInfo:
    """Read the header of an image, and look at the pixels of deep and of transparent ones.

    Raises:
        CorruptImageError: it is none of the accepted formats, or damaged.
        HugeImageError: it has too many pixels, or too long a side.
    """
    with _open(data, limits) as image:
        width, height = image.size
        if _exif(image, data).get(ORIENTATION) in ROTATED:
            width, height = height, width
        deep = image.mode.startswith("I")
        if deep:
            deep_pixels.add(np.asarray(image))
        return ImageInfo(
            height=height,
            width=width,
            gray=image.mode in GRAY_MODES,
            deep=deep,
            animated=bool(getattr(image, "is_animated", False)),
            ink=ink_of(image) if image.has_transparency_data else None,
            brightest=_brightest(image) if _has_deep_colours(data) else None,
        )


def decode(data: bytes, drawing: Drawing, limits: Limits) -> Bytes:
    """Decode the first frame, upright and over the background, to uint8 (height, width, channels).

    Raises:
        CorruptImageError: the data is damaged or cut short.
        HugeImageError: see read_info.
    """
    with _open(data, limits) as image:
        size = (drawing.height, drawing.width, drawing.channels)
        return draw(image, *size, drawing.resize, drawing.background, drawing.pixel_range)


def _exif(image: Image.Image, data: bytes) -> Image.Exif:
    """Return the EXIF data of an image; the pixels of a PNG are decoded only where some stands behind them."""
    if data.startswith(PNG) and not _has_text_behind_pixels(data):
        return Image.Image.getexif(image)  # that of PNG decodes the pixels first
    return image.getexif()


def _has_text_behind_pixels(data: bytes) -> bool:
    """Return whether a PNG has a chunk that may hold EXIF or XMP data behind its pixels."""
    start, pixels_began = len(PNG), False
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        pixels_began |= kind == b"IDAT"
        if pixels_began and kind in PNG_TEXTS:
            return True
        start += 12 + length  # with the length, the kind and the checksum
    return False


def _has_deep_colours(data: bytes) -> bool:
    """Return whether this is a PNG of 16 bits a colour, or of 16-bit gray with transparency, by its header."""
    return data.startswith(PNG) and data[24:25] == b"\x10" and data[25:26] in {b"\2", b"\4", b"\6"}


def _brightest(image: Image.Image) -> int:
    return max(int(high) for _, high in np.array(image.convert("RGB").getextrema()))


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[Image.Image]:
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


def resize(images: Bytes, context: Context) -> Bytes:
    """Return images uint8 (N, H, W, C) of an array in the size and colours of `options.image`.

    They are in a mapped file where that changes them.

    Raises:
        DatasetError: too_large.
    """
    options = context.options.image
    if options is None:
        return images
    count, *old_shape = images.shape
    channels = CHANNELS[options.mode] if options.mode else old_shape[2]
    shape = (options.height or old_shape[0], options.width or old_shape[1], channels)
    if shape == tuple(old_shape):
        return images
    if count * np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = f"{count} images of {shape[0]} x {shape[1]} are too large; give smaller image.height and image.width"
        raise DatasetError(Code.TOO_LARGE, message)
    if shape[:2] != tuple(old_shape[:2]):
        old_size, size = f"{old_shape[0]} x {old_shape[1]}", f"{shape[0]} x {shape[1]}"
        why = f"the array's images have {old_size} pixels, and {size} were asked for"
        context.notes.decide("image.resize", options.resize, why)
    out = np.lib.format.open_memmap(context.scratch / "resized.npy", mode="w+", dtype=np.uint8, shape=(count, *shape))
    for i, pixels in enumerate(images):
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if old_shape[2] == 1 else pixels))
        out[i] = draw(image, *shape, options.resize, options.background)
        if i % 1024 == 0:
            context.progress(0.2 + 0.3 * i / count, f"{i} images resized")
    return out
