"""A picture becomes the same bytes in a dataset and in a request."""

import base64
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare
from app.ml.kinds.modalities.image import ImageModality

RNG = np.random.default_rng(3)


def noise(*shape: int) -> Pictures.Image:
    return Pictures.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def palette() -> Pictures.Image:
    picture = noise(6, 8, 3).quantize(16)
    picture.info["transparency"] = 3
    return picture


def saved(picture: Pictures.Image, kind: str = "PNG", orientation: int = 1) -> bytes:
    exif = Pictures.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, kind, exif=exif)
    return buffer.getvalue()


DEEP = Pictures.fromarray(RNG.integers(0, 65536, (6, 8), dtype=np.uint16))
SAMPLES = {
    "RGB": saved(noise(6, 8, 3)),
    "RGBA": saved(noise(6, 8, 4)),
    "LA": saved(noise(6, 8, 2)),
    "P with tRNS": saved(palette()),
    "I;16": saved(DEEP),
    "I;16 turned": saved(DEEP, orientation=8),
    "turned JPEG": saved(noise(6, 8, 3), "JPEG", 6),
    "WEBP": saved(noise(6, 8, 4), "WEBP"),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("mode", ["gray", "rgb"])
@pytest.mark.parametrize(
    ("height", "width", "resize"), [(6, 8, "stretch"), (8, 6, "pad"), (5, 3, "crop"), (5, 3, "stretch")]
)
def test_a_member_of_a_zip_and_its_base64_are_equal(
    tmp_path: Path, name: str, mode: str, height: int, width: int, resize: str
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("1.png", SAMPLES[name])
    options = PrepareOptions.model_validate(
        {"image": {"height": height, "width": width, "mode": mode, "resize": resize}}
    )
    spec = prepare(source, "a.zip", options, out, Limits(), lambda _fraction, _message: None).spec
    stored = np.load(out / "inputs.npy", allow_pickle=False)
    asked = ImageModality.fit(stored, spec).decode([base64.b64encode(SAMPLES[name]).decode()])
    np.testing.assert_array_equal(asked, stored)
    assert len(np.unique(stored)) > 4
