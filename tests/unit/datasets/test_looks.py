"""Deep and transparent pictures: one scale and one background for all of them, and for those asked about."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.datasets.errors import Code
from app.ml.errors import InputError
from app.ml.kinds.modalities.image import ImageModality
from app.ml.spec import DataSpec, WarningCode

from .conftest import Outcome, Preparer, Refuser, picture, zipped

RNG = np.random.default_rng(1)


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def deep(low: int, high: int, count: int = 12) -> list[Any]:
    rows = RNG.integers(low, high + 1, (count, 8, 8)).astype(np.uint16)
    rows[0, 0, :2] = low, high
    return list(rows)


def folders(pictures: list[bytes]) -> bytes:
    return zipped({f"{('cat', 'dog')[k % 2]}/{k:03}.png": data for k, data in enumerate(pictures)})


def answered(done: Outcome, data: bytes) -> Any:
    """What a prediction makes of a picture."""
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    return modality.decode([base64.b64encode(data).decode()])[0]


@pytest.mark.parametrize(
    ("low", "high", "scaled"),
    [(1560, 1618, True), (0, 1023, True), (0, 4095, True), (100, 32000, True), (33000, 34000, True), (0, 65535, False)],
)
def test_deep_pictures_are_scaled_by_the_range_of_all_of_them(
    make: Preparer, low: int, high: int, scaled: bool
) -> None:
    rows = deep(low, high)
    done = make(folders([png(row) for row in rows]))
    expected_range = (low, high) if scaled else (0, 65535)
    assert done.spec.pixel_range == expected_range
    assert done.decision("image.pixel_range") == f"{expected_range[0]} .. {expected_range[1]}"
    assert done.says("16 bits")
    scale = 255 / (expected_range[1] - expected_range[0])
    numbers = [int(name) for name in done.array("rows")]
    order = sorted(range(len(rows)), key=lambda k: (k % 2, k))
    for position, row in enumerate(numbers):
        expected = np.rint((rows[order[row]] - float(expected_range[0])) * scale)
        np.testing.assert_array_equal(done.array("inputs")[position, ..., 0], expected)
        np.testing.assert_array_equal(answered(done, png(rows[order[row]])), done.array("inputs")[position])


def test_the_range_can_be_given(make: Preparer) -> None:
    rows = deep(1000, 2000)
    done = make(folders([png(row) for row in rows]), image={"pixel_range": [0, 4095]})
    np.testing.assert_array_equal(done.array("inputs")[0, ..., 0], np.rint(rows[0] * (255 / 4095)))
    shallow = make(folders([picture(k, "L") for k in range(6)]), image={"pixel_range": [0, 4095]})
    assert shallow.spec.pixel_range is None
    assert shallow.says("changes nothing")


def test_pixels_that_share_few_levels_warn_with_the_range_to_send(make: Preparer) -> None:
    rows = [np.where(RNG.random((32, 32)) < 0.5, 0, RNG.integers(1560, 1619, (32, 32))) for _ in range(12)]
    rows[0][0, 0] = 4095
    warning = make(folders([png(row.astype(np.uint16)) for row in rows])).warning(WarningCode.FEW_LEVELS)
    assert 'image={"pixel_range": [15' in str(warning.remedy)
    done = make(folders([png(row) for row in deep(0, 4095)]))
    assert WarningCode.FEW_LEVELS not in [item.code for item in done.report.warnings]


def test_a_picture_outside_of_the_range_is_refused(make: Preparer) -> None:
    done = make(folders([png(row) for row in deep(1560, 1618)]))
    with pytest.raises(InputError, match="no pixel lies in 1560 to 1618"):
        answered(done, png(np.full((8, 8), 40_000, np.uint16)))
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    with pytest.raises(InputError, match="no pixel lies in 1560 to 1618"):
        modality.decode([np.full((8, 8), 200).tolist()])


def deep_colours(high: int) -> bytes:
    """A PNG of 4 x 4 pixels with 16 bits a colour, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = RNG.integers(0, high + 1, (4, 12)).astype(">u2")
    rows[0, 0] = high
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("high", "warned"), [(4095, True), (32767, True), (65535, False)])
def test_deep_colours_that_become_dark_warn(make: Preparer, high: int, warned: bool) -> None:
    done = make(folders([deep_colours(high) for _ in range(6)]))
    assert done.says("6 images have 16 bits a colour")
    assert (WarningCode.FEW_LEVELS in [item.code for item in done.report.warnings]) == warned
    assert done.array("inputs").max() == high >> 8


def icon(ink: int, size: int, *, opacity: int = 255) -> Any:
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[2 : 3 + size, 2 : 3 + size] = (ink, ink, ink, opacity)
    return pixels


@pytest.mark.parametrize(
    ("inks", "background"),
    [([0], "white"), ([30], "white"), ([255], "black"), ([120], "black"), ([0, 0, 0, 200], "white")],
)
def test_the_ground_shows_what_is_drawn(make: Preparer, inks: list[int], background: str) -> None:
    icons = [icon(inks[k % len(inks)], k % 8) for k in range(8)]
    done = make(folders([png(pixels) for pixels in icons]))
    assert (done.spec.background, done.decision("image.background")) == (background, background)
    assert done.report.rows.kept == 8
    assert done.says(f"8 images are transparent and were laid over {background}")
    assert done.array("inputs")[0, 11, 11].tolist() == [255 if background == "white" else 0] * 3
    np.testing.assert_array_equal(answered(done, png(icons[0])), done.array("inputs")[0])
    assert WarningCode.HIDDEN_INK not in [item.code for item in done.report.warnings]


def test_the_ground_can_be_given_and_never_hides_most_images(make: Preparer, refused: Refuser) -> None:
    black = folders([png(icon(0, k)) for k in range(8)])
    assert make(black, image={"background": "white"}).spec.background == "white"
    error = refused(Code.BAD_IMAGE, black, image={"background": "black"})
    assert 'image={"background": "white"}' in error.message
    gray = make(folders([png(icon(120, k)) for k in range(8)]), image={"background": "white"})
    assert gray.array("inputs")[0, 11, 11].tolist() == [255, 255, 255]


def test_ink_of_both_colours_and_empty_pictures_warn(make: Preparer) -> None:
    icons = [icon(0 if k < 3 else 255, k % 8) for k in range(10)]
    warning = make(folders([png(pixels) for pixels in icons])).warning(WarningCode.HIDDEN_INK)
    assert (warning.count, len(warning.rows)) == (3, 3)
    assert "background" in str(warning.remedy)


def test_opaque_pictures_with_an_alpha_channel_need_no_ground(make: Preparer) -> None:
    opaque = [
        np.dstack([RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.full((6, 8), 255, np.uint8)]) for _ in range(6)
    ]
    done = make(folders([png(pixels) for pixels in opaque]))
    assert done.spec.background is None
    assert not done.says("transparent")


@pytest.mark.parametrize(
    ("name", "own", "other", "fits"),
    [
        ("pixel_range", (0, 10), (0, 10), True),
        ("pixel_range", (0, 10), (0, 20), False),
        ("pixel_range", (0, 10), None, True),
        ("background", "white", "black", False),
        ("background", "white", None, True),
    ],
)
def test_datasets_of_another_look_do_not_fit(name: str, own: Any, other: Any, fits: bool) -> None:
    spec = DataSpec(modality="image", shape=(8, 8, 1), rows={"train": 1, "validation": 0, "test": 0})
    modality = ImageModality(height=8, width=8, channels=1, **{name: own})
    differences = modality.differences(spec.model_copy(update={name: other}))
    assert (not differences) == fits
    assert all(f"image.{name}" in difference for difference in differences)
