"""Images from JSON: what is read, and how every bad one is named."""

import base64
import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.ml.errors import InputError
from app.ml.kinds.modalities import image as module
from app.ml.kinds.modalities.image import ImageModality
from app.ml.spec import DataSpec

GREY = ImageModality(height=4, width=5, channels=1)
COLOUR = ImageModality(height=4, width=5, channels=3)


def picture(array: Any, kind: str = "PNG", **options: Any) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.asarray(array)).save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def errors(modality: ImageModality, *inputs: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InputError) as caught:
        modality.decode(list(inputs))
    return caught.value.errors


def ramp(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_nested_lists_are_read_with_or_without_the_channel() -> None:
    stored = GREY.decode([ramp(4, 5).tolist(), ramp(4, 5, 1).astype(float).tolist()])
    assert stored.dtype == np.uint8
    assert stored.shape == (2, 4, 5, 1)
    assert (stored == ramp(4, 5, 1)).all()
    assert (COLOUR.decode([ramp(4, 5, 3).tolist()]) == ramp(4, 5, 3)).all()


def test_encoding_divides_by_255_and_puts_channels_first() -> None:
    stored = ramp(1, 4, 5, 3)
    encoded = COLOUR.encode(stored)
    assert encoded.dtype == torch.float32
    assert encoded.is_contiguous()
    assert encoded.shape == (1, *COLOUR.shape)
    assert encoded[0, 2, 1, 3].item() == pytest.approx(stored[0, 1, 3, 2] / 255)
    assert encoded.min() >= 0
    assert encoded.max() <= 1


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_is_read_exactly(prefix: str) -> None:
    assert (COLOUR.decode([prefix + picture(ramp(4, 5, 3))]) == ramp(4, 5, 3)).all()
    assert (GREY.decode([prefix + picture(ramp(4, 5), "WEBP", lossless=True)])[0, :, :, 0] == ramp(4, 5)).all()


def test_a_picture_of_another_size_and_mode_is_converted() -> None:
    stored = GREY.decode([picture(np.full((40, 30, 3), 200, np.uint8), "JPEG")])
    assert stored.shape == (1, 4, 5, 1)
    assert abs(int(stored.mean()) - 200) <= 2


def test_a_picture_is_turned_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    lying = np.zeros((5, 4), np.uint8)
    lying[0] = 255
    stored = GREY.decode([picture(lying, exif=exif)])[0, :, :, 0]
    assert (stored[:, -1] == 255).all()
    assert (stored[:, :-1] == 0).all()


def test_sixteen_bits_become_eight_without_clipping() -> None:
    wide = np.array([[0, 255, 256, 32768, 65535]] * 4, np.uint16)
    assert GREY.decode([picture(wide)])[0, 0, :, 0].tolist() == [0, 1, 1, 128, 255]


def test_a_dataset_of_numbers_up_to_one_is_asked_in_the_same_numbers() -> None:
    spec = DataSpec(modality="image", shape=(4, 5, 1), value_scale=255, rows={"train": 1})
    unit = ImageModality.fit(ramp(0, 4, 5, 1), spec)
    assert (unit.decode([(ramp(4, 5) / 255).tolist()])[0, :, :, 0] == ramp(4, 5)).all()
    assert (unit.decode([(ramp(4, 5) > 9).tolist()])[0, :, :, 0] == (ramp(4, 5) > 9) * 255).all()
    assert (unit.decode([picture(ramp(4, 5))])[0, :, :, 0] == ramp(4, 5)).all()
    for value in (2, 1.01, -0.1, float("nan")):
        ((loc, message),) = errors(unit, (ramp(4, 5) > 9).tolist(), with_value(value, 0))
        assert loc == (1,)
        assert "position 7 is not among numbers 0..1" in message
    assert "a str at position 7" in errors(unit, with_value("1", 0))[0][1]
    assert ImageModality.model_validate({"kind": "image"}).value_scale == 1


def with_value(value: Any, scale: int = 1) -> list[Any]:
    rows: list[Any] = (ramp(4, 5) * scale).tolist()
    rows[1][2] = value
    return rows


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 256, 1.5, True, "7", None, {}, 10**400, -(10**400)])
def test_a_bad_number_is_named(value: Any) -> None:
    ((loc, message),) = errors(GREY, ramp(4, 5).tolist(), with_value(value))
    assert loc == (1,)
    assert "position 7" in message
    assert "0..255" in message
    assert len(message) <= 200


@pytest.mark.parametrize("value", [300, 0.5, -1])
def test_a_bad_number_of_an_array_is_named(value: float) -> None:
    pictures = np.stack([ramp(4, 5), np.array(with_value(value))]).astype(float)
    with pytest.raises(InputError) as caught:
        GREY.decode(pictures)
    assert [loc for loc, _ in caught.value.errors] == [(1,)]
    assert "position 7" in caught.value.errors[0][1]


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1, 2],
        [[1, 2], [3]],
        ramp(5, 4).tolist(),
        ramp(4, 5, 3).tolist(),
        [ramp(4, 5).tolist()] * 2,
        [[[[1]]]],
        [1, [2]],
    ],
)
def test_a_wrong_shape_is_refused(value: Any) -> None:
    ((loc, message),) = errors(GREY, value)
    assert loc == (0,)
    assert "shape" in message or "nested" in message


@pytest.mark.parametrize("value", [None, 3, True, {"image": 1}])
def test_what_is_no_image_is_refused(value: Any) -> None:
    assert "nested list" in errors(GREY, value)[0][1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://example.org/a.png", "never fetched"),
        ("file:///etc/passwd", "never fetched"),
        ("data:image/png,abc", "data: URL"),
        ("not base64!", "base64"),
        ("", "cannot be read"),
        (base64.b64encode(b"GIF89a" + bytes(40)).decode(), "cannot be read"),
        (base64.b64encode(base64.b64decode(picture(ramp(4, 5)))[:40]).decode(), "cannot be read"),
    ],
)
def test_a_bad_picture_is_refused_in_words(text: str, words: str) -> None:
    assert words in errors(GREY, text)[0][1]


def test_a_giant_picture_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = picture(np.zeros((6000, 5000), np.uint8))
    monkeypatch.setattr(PIL.Image.Image, "load", None)  # unpacking it would fail differently
    assert "pixels" in errors(GREY, bomb)[0][1]
    monkeypatch.setattr(module, "MAX_ENCODED_CHARACTERS", 10)
    assert "longer than" in errors(GREY, bomb)[0][1]


def test_the_pictures_of_one_request_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS_TOGETHER", 40)
    small = picture(ramp(4, 5))
    assert len(GREY.decode([small, ramp(4, 5).tolist(), small])) == 3
    ((loc, message),) = errors(GREY, small, ramp(4, 5).tolist(), small, small)
    assert loc == (3,)
    assert "over 40 pixels together" in message


def test_at_most_twenty_bad_inputs_are_listed_and_none_is_not_a_request() -> None:
    assert [loc for loc, _ in errors(GREY, *[3] * 50)] == [(index,) for index in range(20)]
    assert errors(GREY) == [((), "give at least one input")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4))
def test_any_json_is_read_or_refused(inputs: list[Any]) -> None:
    try:
        stored = GREY.decode(inputs)
    except InputError as error:
        found = len(error.errors)
    else:
        found = 1
        assert stored.shape == (len(inputs), 4, 5, 1)
    assert 1 <= found <= 20


def test_a_dataset_that_does_not_fit_is_described() -> None:
    fitting = DataSpec(modality="image", shape=(4, 5, 1), rows={"train": 1})
    larger = DataSpec(modality="image", shape=(8, 8, 3), rows={"train": 1})
    assert GREY.differences(fitting) == []
    assert "4 x 5 pixels with 1 channel" in GREY.differences(larger)[0]
    assert "8 x 8 pixels with 3 channels" in GREY.differences(larger)[0]
