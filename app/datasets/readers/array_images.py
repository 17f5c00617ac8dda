"""Arrays of images: known from series, brought to bytes by one scale for all of them, and resized."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes
from app.datasets.frames.chunks import row_chunks
from app.datasets.readers.npy import bad_array
from app.datasets.readers.pixels import resize
from app.datasets.readers.ranges import DeepPixels, warn_of_dark
from app.datasets.report import Notes
from app.ml.data.image_decoding import ROUNDING, to_bytes
from app.ml.spec import PixelRange, ValueScale, WarningCode

Array: TypeAlias = npt.NDArray[Any]
X = "x"
CHANNELS = (1, 3, 4)
CHUNK_BYTES = 8 << 20
MAX_BYTE = 255
MAX_UINT16 = 65535
MIN_FRACTION_RANGE = 16
MIN_SIDE = 8
MIN_CERTAIN_SIDE = 16
MAX_RATIO = 4
OVERSHOOT = 0.25  # what resizing by cubic curves may add to 0 .. 1


@dataclass(frozen=True, slots=True)
class Values:
    """What the pixels of an array are: their range, and whether any has a fraction."""

    low: float
    high: float
    fractions: bool

    @property
    def unit(self) -> bool:
        """Whether they lie in 0 .. 1, up to what rounding to a byte loses."""
        return self.low >= -ROUNDING and self.high <= 1 + ROUNDING


@dataclass(frozen=True, slots=True)
class ArrayImages:
    """Images uint8 (N, H, W, C), and how their values became bytes: by a factor, or by a range."""

    pixels: Bytes
    value_scale: ValueScale = 1
    pixel_range: PixelRange | None = None


def channels_last(x: Array, notes: Notes) -> Array:
    """Return images (N, H, W, C); those that come as (N, C, H, W) are turned, which is a decision."""
    if x.ndim != 4 or x.shape[3] in CHANNELS or x.shape[1] not in CHANNELS:  # noqa: PLR2004 - (N, H, W, C)
        return x
    why = f"shape {x.shape} has channels first, as {x.shape[3]} is no number of channels; stored are (N, H, W, C)"
    notes.decide("x", "channels last", why, "save the array as numpy.moveaxis(x, 1, 3)")
    return np.moveaxis(x, 1, 3)


def read_array_images(x: Array, context: Context) -> ArrayImages:
    """Return the images of x (N, H, W) or (N, H, W, C) as bytes.

    Raises:
        DatasetError: bad_array: their values are no pixels, or the rows may as well be series; bad_number, too_large.
    """
    shape = (*x.shape, 1) if x.ndim == 3 else x.shape  # noqa: PLR2004 - (N, H, W)
    if max(shape[1:3]) > context.limits.side or x.size > context.limits.canonical_bytes:
        raise DatasetError(Code.TOO_LARGE, f"array x holds images of shape {x.shape}; make them smaller")
    options = context.options
    plain_bytes = x.dtype == np.uint8
    values = _values(x)
    if x.ndim == 3 and options.modality is None and options.image is None:  # noqa: PLR2004 - or series (N, T, C)
        _check_images(x, values, context.notes)
    chosen = options.image.pixel_range if options.image else None
    if plain_bytes and chosen is None and values.high > 1:
        _warn_of_dark(values, len(x), context.notes)
        return ArrayImages(resize(x.reshape(shape), context))
    scale, pixel_range = (1, chosen) if chosen else _scaling(x, values, context.notes)
    out = np.lib.format.open_memmap(context.scratch / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for rows in row_chunks(x, CHUNK_BYTES):
        out[rows] = to_bytes(x[rows], scale, pixel_range).reshape(-1, *shape[1:])
    return ArrayImages(resize(out, context), scale, pixel_range)


def _values(x: Array) -> Values:
    """Return what the pixels are; refuse NaN and infinity."""
    low, high, fractions = np.inf, -np.inf, False
    for rows in row_chunks(x, CHUNK_BYTES):
        images = x[rows]
        if images.dtype.kind == "f":
            bad = ~np.isfinite(images).reshape(len(images), -1).all(axis=1)
            if bad.any():
                row = rows.start + int(np.flatnonzero(bad)[0])
                message = f"array x: image {row} holds NaN or infinity; remove it or fill the pixels"
                message += ', or give the modality "series" where it is a series'
                raise DatasetError(Code.BAD_NUMBER, message, [RowError(("x",), message, row)])
            fractions = fractions or bool((images != np.floor(images)).any())
        low, high = min(low, float(images.min())), max(high, float(images.max()))
    return Values(low, high, fractions)


def _check_images(x: Array, values: Values, notes: Notes) -> None:
    """Record that x (N, A, B) holds images of A x B pixels; warn where it may hold series, refuse where that is likely.

    Images are nearly square, and of bytes or of values in 0 .. 1; series are long, and have few channels.
    """
    height, width = x.shape[1:]
    short, long = sorted((height, width))
    square = height == width
    few_bits = x.dtype == np.uint8 or x.dtype.kind == "b"
    deep = x.dtype.kind in "iu" and values.high > MAX_BYTE
    pixels = values.unit or (not values.fractions and values.low >= 0 and values.high <= MAX_BYTE)
    image_like = square or (long <= MAX_RATIO * short and (pixels or few_bits)) or (few_bits and short >= MIN_SIDE)
    if not image_like or (values.fractions and not values.unit and not square) or (deep and not square):
        problem = f"shape {x.shape} with values from {values.low:g} to {values.high:g} may be images or series; "
        problem += 'give the modality "series" for series of '
        problem += f'{height} steps and {width} channels, or "image" for images of {height} x {width} pixels'
        if width > height:
            problem += f"; save series of {width} steps and {height} channels as numpy.moveaxis(x, 1, 2)"
        raise bad_array(X, problem)
    shown = f"{x.dtype} values {'between 0 and 1' if values.unit else f'from {values.low:g} to {values.high:g}'}"
    why = f"{shown} in {height} x {width}, so they are pixels"
    notes.decide("modality", "image", why, 'modality="series"')
    rounded = values.fractions and not values.unit and values.high <= MAX_BYTE / 2
    if rounded or not (square or few_bits or short >= MIN_CERTAIN_SIDE):
        message = f"array x of shape {x.shape} was taken for images of {height} x {width} pixels; it may be series"
        remedy = f'modality="series" reads series of {height} steps and {width} channels, modality="image" says images'
        notes.warn(WarningCode.PERHAPS_SERIES, message, count=len(x), remedy=remedy)


def _scaling(x: Array, values: Values, notes: Notes) -> tuple[ValueScale, PixelRange | None]:
    """Return the factor, or the range, that brings pixels to 0 .. 255; refuse those of which it is not known."""
    option = 'image={"pixel_range": [low, high]}'
    if values.unit:
        why = f"{x.dtype} pixels between 0 and 1 were multiplied by 255 and rounded"
        notes.decide("x", "0 .. 255", why, option)
        if values.high > 1 or values.low < 0:
            shown = f"{values.low:.9g} to {values.high:.9g}"
            notes.notice(f"pixels run from {shown}: what lies outside of 0 .. 1 by rounding was taken for 0 and 1")
        return 255, None
    if values.low >= 0 and values.high <= MAX_BYTE and (not values.fractions or values.high > MIN_FRACTION_RANGE):
        notes.decide("x", "uint8", f"{x.dtype} pixels between 0 and 255 were rounded to whole bytes", option)
        _warn_of_dark(values, len(x), notes)
        return 1, None
    if x.dtype.kind in "iu" and (x.dtype == np.int16 or (values.low >= 0 and values.high <= MAX_UINT16)):
        pixels = DeepPixels()
        for rows in row_chunks(x, CHUNK_BYTES):
            pixels.add(x[rows], images=len(x[rows]))
        return 1, pixels.range(notes)
    raise bad_array(X, _range_problem(values))


def _warn_of_dark(values: Values, images: int, notes: Notes) -> None:
    remedy = f'image={{"pixel_range": [0, {values.high:g}]}} makes {values.high:g} white'
    warn_of_dark(values.high, images, remedy, notes)


def _range_problem(values: Values) -> str:
    low, high = np.floor(values.low + ROUNDING), np.ceil(values.high - ROUNDING)
    if values.low >= -OVERSHOOT and values.high <= 1 + OVERSHOOT:
        low, high = 0, 1
    return (
        f"pixels run from {values.low:g} to {values.high:g}; scale them to 0 .. 255 (uint8) or 0 .. 1 (float), or say "
        f'which values are black and white: image={{"pixel_range": [{low:g}, {high:g}]}}; or give the modality "series"'
    )
