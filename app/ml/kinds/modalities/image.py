"""Images of one size, scaled to [0, 1].

Stored as uint8 (N, H, W, C), encoded as float32 (N, C, H, W) = x / 255. JSON inputs are nested lists of numbers in the
dataset's own scale, (H, W) where C is 1 or (H, W, C): whole numbers 0..255, or where its pixels were 0..1 and
multiplied by 255 (`value_scale`), numbers 0..1 and booleans; or a PNG, JPEG or WEBP as base64 (plain or a data: URL),
which becomes bytes as the pictures of a dataset do (app.ml.data.image_decoding). An object holds one of these as its
"image", or a file's "bytes". NumPy arrays and the bytes of pictures are read too.
"""

import base64
import binascii
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from app.ml.data.chunks import as_rows
from app.ml.data.image_decoding import FAULTS, FORMATS, MODES, ROUNDING, draw, to_bytes
from app.ml.fields import Integer
from app.ml.interfaces import Modality, Rows, Shape, StoredRows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.signature import ImageSignature, Signature
from app.ml.kinds.modalities.decoding import DecodingError, decode_each, only_value
from app.ml.kinds.modalities.encoders import ImageEncoder
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.spec import Background, DataSpec, PixelRange, Resize, ValueScale

MAX_PIXELS = 25_000_000
MAX_ENCODED_CHARACTERS = 48 * 1024 * 1024
MAX_PIXELS_TOGETHER = 100_000_000
MAX_NUMBER = 1e38
_MODE = {1: " and image.mode gray", 3: " and image.mode rgb"}
_USUAL = ImagePreprocessing()


class ImageModality(Modality):
    """Images of one size and number of channels."""

    kind: Literal["image"] = "image"
    bounded: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    height: Integer = Field(28, ge=1, le=10_000, description="Height in pixels.")
    width: Integer = Field(28, ge=1, le=10_000, description="Width in pixels.")
    channels: Integer = Field(1, ge=1, le=16, description="Channels: 1 grey, 3 colour, 4 with transparency.")
    scaling: Literal["unit"] = Field("unit", description="How bytes become numbers: unit is x / 255.")
    resize: Resize = Field(
        "stretch",
        description="How pictures of other sizes are brought to this one: sides scaled each on its own, or both alike, "
        "with black around (pad) or cut off at the edges (crop).",
    )
    value_scale: ValueScale = Field(1, description="Range of numbers in JSON: 1 for bytes 0..255, 255 for 0..1.")
    background: Background | None = Field(None, description="What is laid under transparent pictures; null: black.")
    pixel_range: PixelRange | None = Field(
        None, description="Numbers in JSON, and values of 16-bit pictures, that are black and white; null: the usual."
    )

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: ImagePreprocessing = _USUAL) -> Self:  # noqa: ARG003 - nothing to learn
        """The size comes from the dataset; nothing is learned."""
        height, width, channels = spec.shape
        return cls(height=height, width=width, channels=channels, **_reading(spec))

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, which reads JSON as the other dataset was written; stored images are bytes whatever that was."""
        return self.model_copy(update=_reading(spec))

    @property
    def shape(self) -> Shape:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)

    def encode(self, inputs: Rows) -> Tensor:
        """uint8 (N, H, W, C) to float32 (N, C, H, W) in [0, 1]."""
        stored = torch.from_numpy(np.require(inputs, np.uint8, ["C", "W"]))
        return stored.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)

    def encoded(self, inputs: Rows) -> Rows:
        """Do the same, to an array."""
        pixels = inputs.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        pixels /= 255
        return pixels

    export_input: ClassVar[str] = "images"

    def encoder(self) -> ImageEncoder:
        """All of `encode`."""
        return ImageEncoder()

    def export_rows(self, inputs: Rows) -> Tensor:
        """uint8 (N, H, W, C)."""
        return torch.from_numpy(np.array(inputs, dtype=np.uint8))

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """JSON to uint8 (N, H, W, C). Raises `InputError`."""
        doubts, budget = doubts or Doubts(), _Budget(MAX_PIXELS_TOGETHER)
        pixels = self.decode_sound(inputs) if isinstance(inputs, np.ndarray) else None
        if pixels is not None:
            return pixels
        return as_rows(decode_each(inputs, lambda value: self._decode_one(value, budget, doubts), doubts), np.uint8)

    @property
    def keys(self) -> tuple[str, ...]:
        """What a picture is called, by itself or as a file."""
        return ("image", "bytes")

    def signature(self) -> Signature:
        """The size; the example is a grey picture, in base64 where pictures have so many channels."""
        shape = (self.height, self.width, self.channels)
        grey = np.full(shape, 128, np.uint8)
        numbers = np.full(shape, self.pixel_range[0] if self.pixel_range else 0)
        return Signature(
            modality="image",
            image=ImageSignature(
                height=self.height,
                width=self.width,
                channels=self.channels,
                highest=self.pixel_range[1] if self.pixel_range else 255 // self.value_scale,
                resize=self.resize,
            ),
            ignored=self.left_out,
            example={"inputs": [_as_base64(grey) if self.channels in MODES else numbers.tolist()]},
        )

    def spec(self) -> DataSpec:
        """Its size and the range of its pixels."""
        reading = self.model_dump(include={"resize", "value_scale", "background", "pixel_range"})
        return DataSpec(modality="image", shape=(self.height, self.width, self.channels), rows={}, **reading)

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's images differ."""
        if spec.modality != "image":
            return [f"the model takes images and the dataset is a {spec.modality}"]
        expected = (self.height, self.width, self.channels)
        if spec.shape == expected:
            return self._differences_of_looks(spec)
        how = f"prepare it with image.height {self.height}, image.width {self.width}{_MODE.get(self.channels, '')}"
        return [f"the model takes images of {_words(expected)} and the dataset's are {_words(spec.shape)} ({how})"]

    def _differences_of_looks(self, spec: DataSpec) -> list[str]:
        """In words, how the same pictures would become other bytes."""
        differences = []
        if None not in (self.pixel_range, spec.pixel_range) and self.pixel_range != spec.pixel_range:
            own = list(self.pixel_range or ())
            how = f"prepare it with image.pixel_range {own}"
            differences.append(f"the model's pixels run from {_shown(self.pixel_range)}, the dataset's from ")
            differences[-1] += f"{_shown(spec.pixel_range)} ({how})"
        if None not in (self.background, spec.background) and self.background != spec.background:
            differences.append(f"the model's transparent pictures lie over {self.background} and the dataset's over ")
            differences[-1] += f"{spec.background} (prepare it with image.background {self.background})"
        return differences

    def specimens(self, count: int) -> Rows:
        """Random pixels, uint8 (count, H, W, C)."""
        shape = (count, self.height, self.width, self.channels)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def _decode_one(self, value: Any, budget: "_Budget", doubts: Doubts) -> Rows:
        while isinstance(value, dict):  # Parquet files of pictures nest {"image": {"bytes": ..., "path": ...}}
            value = only_value(value, ("image", "bytes"), (*self.left_out, "path"), "picture", doubts)
        if isinstance(value, str):
            return self._from_picture(_unwrap(value), budget)
        if isinstance(value, bytes):
            return self._from_picture(value, budget)
        if isinstance(value, np.ndarray):
            return self._from_array(value)
        if isinstance(value, list):
            return self._from_numbers(value)
        numbers = _numbers(self.value_scale, self.pixel_range)
        msg = f"an image is a nested list of {numbers} or a base64 string of a PNG, JPEG or WEBP"
        raise DecodingError(msg)

    def _from_numbers(self, value: list[Any]) -> Rows:
        flat: list[Any] = []
        shape = self._known_shape(_walk(value, flat, 3))
        return self._upright(_bytes(flat, self.value_scale, self.pixel_range).reshape(shape))

    def _from_array(self, array: Rows) -> Rows:
        shape = self._known_shape(array.shape)
        if array.dtype == np.uint8 and self.value_scale == 1 and self.pixel_range is None:
            return self._upright(array.reshape(shape))
        return self._upright(_bytes(array.ravel().tolist(), self.value_scale, self.pixel_range).reshape(shape))

    def decode_sound(self, inputs: Rows) -> Rows | None:
        """An array of pictures to uint8 (N, H, W, C); None where some may be at fault, each by itself."""
        shape = (self.height, self.width, self.channels)
        shapes = (shape, shape[:2]) if self.channels == 1 else (shape,)
        if inputs.shape[1:] not in shapes or inputs.dtype.kind not in "iuf" or self.pixel_range is not None:
            return None
        if inputs.dtype == np.uint8 and self.value_scale == 1:
            return inputs.reshape(len(inputs), *shape)
        values = inputs.reshape(len(inputs), *shape).astype(np.float64)
        return to_bytes(values, self.value_scale, None) if _are_good(values, self.value_scale).all() else None

    def _known_shape(self, shape: Shape) -> Shape:
        """Return the shape of numbers that are a picture: (H, W, C), or (H, W) of one channel, or channels first."""
        shapes: tuple[Shape, ...] = ((self.height, self.width, self.channels),)
        if self.channels == 1:
            shapes = ((self.height, self.width), *shapes)
        if shape not in (*shapes, self.shape):
            msg = f"the image has shape {shape}; expected {' or '.join(map(str, shapes))}"
            raise DecodingError(msg)
        return shape

    def _upright(self, pixels: Rows) -> Rows:
        """Return pixels of a known shape as (H, W, C)."""
        expected = (self.height, self.width, self.channels)
        return np.moveaxis(pixels, 0, 2) if pixels.shape == self.shape != expected else pixels.reshape(expected)

    def _from_picture(self, content: bytes, budget: "_Budget") -> Rows:
        if self.channels not in MODES:
            msg = f"images of {self.channels} channels can only be given as nested lists"
            raise DecodingError(msg)
        with _opened(content) as picture:
            budget.take(picture.width * picture.height)
            size = (self.height, self.width, self.channels)
            pixels = draw(picture, *size, self.resize, self.background, self.pixel_range)
            if picture.mode.startswith("I") and self.pixel_range is not None:
                _check_range(np.asarray(picture), self.pixel_range)
            return pixels


@dataclass
class _Budget:
    """How many pixels the pictures of one request may still have: small files unpack to a lot of work."""

    left: int

    def take(self, pixels: int) -> None:
        self.left -= pixels
        if self.left < 0:
            msg = f"the pictures up to this one have over {MAX_PIXELS_TOGETHER} pixels together: send fewer at once"
            raise DecodingError(msg)


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
        raise DecodingError(msg)
    shapes = {_walk(item, flat, depth - 1) for item in value}
    if len(shapes) > 1:
        msg = f"the rows of the image differ in shape: {sorted(shapes)}"
        raise DecodingError(msg)
    return (len(value), *shapes.pop())


def _reading(spec: DataSpec) -> dict[str, Any]:
    """How pictures and numbers of a dataset became bytes."""
    return spec.model_dump(include={"resize", "value_scale", "background", "pixel_range", "left_out"})


def _shown(values: PixelRange | None) -> str:
    return "" if values is None else f"{values[0]:g} to {values[1]:g}"


def _check_range(values: Rows, pixel_range: PixelRange) -> None:
    """Refuse a picture of which no value lies in the range of the dataset: it would be all black, or all white."""
    if values.max() < pixel_range[0] or values.min() > pixel_range[1]:
        msg = f"no pixel lies in {_shown(pixel_range)}, the values of the dataset's pixels; scale the picture likewise"
        raise DecodingError(msg)


def _bytes(flat: list[Any], scale: ValueScale, pixel_range: PixelRange | None = None) -> Rows:
    """Numbers in the dataset's scale to bytes, as in preparation."""
    kinds = {int, float} if scale == 1 else {int, float, bool}
    if {type(item) for item in flat} <= kinds:
        most, slack = (MAX_NUMBER, 0.0) if pixel_range else (255 // scale, 0.0 if scale == 1 else ROUNDING)
        numbers = np.array([float(item) if abs(item) <= most + slack else np.nan for item in flat])
        good = ~np.isnan(numbers) if pixel_range else _are_good(numbers, scale)
        if good.all():
            if pixel_range:
                _check_range(numbers, pixel_range)
            return to_bytes(numbers, scale, pixel_range)
        msg = f"the value at position {int(np.argmin(good))} is not among {_numbers(scale, pixel_range)}"
        raise DecodingError(msg)
    position, kind = next((i, type(v).__name__) for i, v in enumerate(flat) if type(v) not in kinds)
    msg = f"a {kind} at position {position}: use {_numbers(scale, pixel_range)}"
    raise DecodingError(msg)


def _are_good(numbers: Rows, scale: ValueScale) -> NDArray[np.bool_]:
    """Tell which numbers lie in the scale of the dataset: whole ones up to 255, or any from 0 to 1."""
    slack = 0.0 if scale == 1 else ROUNDING
    good = (numbers >= -slack) & (numbers <= 255 // scale + slack)
    return good & (numbers == np.floor(numbers)) if scale == 1 else good


def _numbers(scale: ValueScale, pixel_range: PixelRange | None) -> str:
    if pixel_range is not None:
        return f"numbers {_shown(pixel_range)}, as in the dataset"
    return "whole numbers 0..255" if scale == 1 else "numbers 0..1, as in the dataset"


def _as_base64(pixels: Rows) -> str:
    """Return uint8 (H, W, C), C a key of MODES, as a PNG in base64."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _unwrap(text: str) -> bytes:
    if len(text) > MAX_ENCODED_CHARACTERS:
        msg = f"the picture is longer than {MAX_ENCODED_CHARACTERS} base64 characters"
        raise DecodingError(msg)
    if text[:5].lower() == "data:":
        header, separator, body = text.partition(",")
        if not separator or not header.lower().endswith(";base64"):
            msg = "a data: URL needs the form data:image/png;base64,..."
            raise DecodingError(msg)
        text = body
    elif "://" in text[:16] or text[:5].lower() == "file:":
        msg = "URLs are never fetched: send the picture itself, as base64"
        raise DecodingError(msg)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "the string is not valid base64"
        raise DecodingError(msg) from error


@contextmanager
def _opened(content: bytes) -> Iterator[PIL.Image.Image]:
    """Open a picture of bounded size. What fails inside, as drawing a damaged one does, becomes a DecodingError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is only a warning, and we ignore metadata
            with PIL.Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                pixels = picture.width * picture.height
                if pixels > MAX_PIXELS:
                    msg = f"the picture has {pixels} pixels; at most {MAX_PIXELS}"
                    raise DecodingError(msg)
                yield picture
    except FAULTS as error:
        msg = f"the picture cannot be read as {', '.join(FORMATS)}"
        raise DecodingError(msg) from error
