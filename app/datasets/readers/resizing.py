"""Images of an array brought to the size and colours that the user asks for, as files of images are."""

import numpy as np
from PIL import Image

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Bytes
from app.ml.data.image_decoding import draw

CHANNELS = {"gray": 1, "rgb": 3}


def resized(images: Bytes, context: Context) -> Bytes:
    """Return images uint8 (N, H, W, C) as `options.image` says, from a mapped file where that changes them.

    Raises:
        DatasetError: too_large.
    """
    wish = context.options.image
    if wish is None:
        return images
    count, *was = images.shape
    shape = (wish.height or was[0], wish.width or was[1], CHANNELS[wish.mode] if wish.mode else was[2])
    if shape == tuple(was):
        return images
    if count * np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = f"{count} images of {shape[0]} x {shape[1]} are too large; give smaller image.height and image.width"
        raise DatasetError(Code.TOO_LARGE, message)
    if shape[:2] != tuple(was[:2]):
        why = f"the array's images have {was[0]} x {was[1]} pixels, and {shape[0]} x {shape[1]} were asked for"
        context.notes.decide("image.resize", wish.resize, why)
    out = np.lib.format.open_memmap(context.work / "resized.npy", mode="w+", dtype=np.uint8, shape=(count, *shape))
    for place, pixels in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if was[2] == 1 else pixels))
        out[place] = draw(picture, *shape, wish.resize)
        if place % 1024 == 0:
            context.progress(0.2 + 0.3 * place / count, f"{place} images resized")
    return out
