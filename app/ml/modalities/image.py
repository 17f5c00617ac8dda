"""Images of one size, scaled to [0, 1].

Stored as uint8 (N, H, W, C), encoded as float32 (N, C, H, W) = x / 255. JSON inputs are nested lists of whole
numbers 0..255, (H, W) where C is 1 or (H, W, C), or a PNG, JPEG or WEBP as base64 (plain or a data: URL), which is
turned upright by its EXIF orientation, converted to C channels and resized to (H, W).
"""

import base64
import binascii
import io
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from pydantic import Field
from torch import Tensor

from app.ml.fields import Integer
from app.ml.interfaces import Modality, Rows, Shape, as_rows
from app.ml.modalities.collect import BadValue, decode_each
from app.ml.spec import DataSpec

MOST_PIXELS = 25_000_000
MOST_ENCODED_CHARACTERS = 48 * 1024 * 1024
FORMATS = ("PNG", "JPEG", "WEBP")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # more than 8 bits: Pillow would clip them to white


class Image(Modality):
    """Images of one size and number of channels."""

    kind: Literal["image"] = "image"
    bounded: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    height: Integer = Field(28, ge=1, le=10_000, description="Height in pixels.")
    width: Integer = Field(28, ge=1, le=10_000, description="Width in pixels.")
    channels: Integer = Field(1, ge=1, le=16, description="Channels: 1 grey, 3 colour, 4 with transparency.")
    scaling: Literal["unit"] = Field("unit", description="How bytes become numbers: unit is x / 255.")

    @classmethod
    def fit(cls, inputs: Rows, spec: DataSpec) -> Self:  # noqa: ARG003 - nothing to learn from the rows
        """The size comes from the dataset; nothing is learned."""
        height, width, channels = spec.shape
        return cls(height=height, width=width, channels=channels)

    @property
    def shape(self) -> Shape:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)

    def encode(self, inputs: Rows) -> Tensor:
        """uint8 (N, H, W, C) to float32 (N, C, H, W) in [0, 1]."""
        stored = torch.from_numpy(np.require(inputs, np.uint8, ["C", "W"]))
        return stored.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)

    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON to uint8 (N, H, W, C). Raises `InputError`."""
        return as_rows(decode_each(inputs, self._decode_one), np.uint8)

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's images differ."""
        if spec.modality != "image":
            return [f"the model takes images and the dataset is a {spec.modality}"]
        mine = (self.height, self.width, self.channels)
        if spec.shape == mine:
            return []
        return [f"the model takes images of {_words(mine)} and the dataset's are {_words(spec.shape)}"]

    def _decode_one(self, value: Any) -> Rows:
        if isinstance(value, str):
            return self._from_picture(value)
        if isinstance(value, list):
            return self._from_numbers(value)
        msg = "an image is a nested list of numbers 0..255 or a base64 string of a PNG, JPEG or WEBP"
        raise BadValue(msg)

    def _from_numbers(self, value: list[Any]) -> Rows:
        wanted: tuple[Shape, ...] = ((self.height, self.width, self.channels),)
        if self.channels == 1:
            wanted = ((self.height, self.width), *wanted)
        flat: list[Any] = []
        shape = _walk(value, flat, len(wanted[-1]))
        if shape not in wanted:
            msg = f"the image has shape {shape}; expected {' or '.join(str(one) for one in wanted)}"
            raise BadValue(msg)
        return _bytes(flat).reshape(wanted[-1])

    def _from_picture(self, text: str) -> Rows:
        picture = _open(_unwrap(text))
        picture = PIL.ImageOps.exif_transpose(picture)
        if self.channels not in _MODES:
            msg = f"images of {self.channels} channels can only be given as nested lists"
            raise BadValue(msg)
        picture = _narrow(picture).convert(_MODES[self.channels])
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), PIL.Image.Resampling.BILINEAR)
        return np.asarray(picture, np.uint8).reshape(self.height, self.width, self.channels)


def _words(shape: Shape) -> str:
    height, width, channels = shape
    return f"{height} x {width} pixels with {channels} channel{'s' if channels > 1 else ''}"


def _walk(value: list[Any], flat: list[Any], depth: int) -> Shape:
    """Append the leaves of a nested list to `flat` and return its shape; refuse a ragged or deeper one."""
    if not any(isinstance(item, list) for item in value):
        flat.extend(value)
        return (len(value),)
    if depth == 1 or not all(isinstance(item, list) for item in value):
        msg = "the lists are nested too deep or unevenly"
        raise BadValue(msg)
    shapes = {_walk(item, flat, depth - 1) for item in value}
    if len(shapes) > 1:
        msg = f"the rows of the image differ in shape: {sorted(shapes)}"
        raise BadValue(msg)
    return (len(value), *shapes.pop())


def _bytes(flat: list[Any]) -> Rows:
    if {type(item) for item in flat} <= {int, float}:
        numbers = np.array([float(item) if abs(item) <= 255 else np.nan for item in flat])  # noqa: PLR2004 - a byte
        good = (numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))  # noqa: PLR2004 - a byte
        if good.all():
            return numbers.astype(np.uint8)
        msg = f"the value at position {int(np.argmin(good))} is not a whole number 0..255"
        raise BadValue(msg)
    position, kind = next((i, type(v).__name__) for i, v in enumerate(flat) if type(v) not in (int, float))
    msg = f"a {kind} at position {position}: use whole numbers 0..255"
    raise BadValue(msg)


def _unwrap(text: str) -> bytes:
    if len(text) > MOST_ENCODED_CHARACTERS:
        msg = f"the picture is longer than {MOST_ENCODED_CHARACTERS} base64 characters"
        raise BadValue(msg)
    if text[:5].lower() == "data:":
        header, separator, body = text.partition(",")
        if not separator or not header.lower().endswith(";base64"):
            msg = "a data: URL needs the form data:image/png;base64,..."
            raise BadValue(msg)
        text = body
    elif "://" in text[:16] or text[:5].lower() == "file:":
        msg = "URLs are never fetched: send the picture itself, as base64"
        raise BadValue(msg)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "the string is not valid base64"
        raise BadValue(msg) from error


def _open(content: bytes) -> PIL.Image.Image:
    unreadable = f"the picture cannot be read as {', '.join(FORMATS)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is only a warning, and we ignore metadata
            picture = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = picture.size
            if width * height <= MOST_PIXELS:
                picture.load()
                return picture
    except (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise BadValue(unreadable) from error
    msg = f"the picture has {width * height} pixels; at most {MOST_PIXELS}"
    raise BadValue(msg)


def _narrow(picture: PIL.Image.Image) -> PIL.Image.Image:
    """More than 8 bits a pixel become 8 by dropping the low ones."""
    if picture.mode not in _WIDE_MODES:
        return picture
    wide = np.asarray(picture)
    return PIL.Image.fromarray((np.clip(wide, 0, 65535).astype(np.uint32) >> 8).astype(np.uint8), "L")
