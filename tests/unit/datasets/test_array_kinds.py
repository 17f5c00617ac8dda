"""Arrays as people save them: names, one-hot labels, channels first, ranges, and series that look like images."""

from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code
from app.datasets.options import ImageOptions
from app.ml.kinds.modalities.image import ImageModality
from app.ml.spec import WarningCode

from .conftest import Outcome, Preparer, Refuser, npy, npz

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 12, 12), dtype=np.uint8)
LABELS = np.arange(30) % 3
UNIT = IMAGES.astype(np.float32) / 255


def codes(done: Outcome) -> list[str]:
    return [item.code for item in done.report.warnings]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("X", "Y"),
        ("images", "labels"),
        ("data", "target"),
        ("X", "y"),
        ("image", "label"),
        ("inputs", "classes"),
        ("arr_0", "arr_1"),
        ("x_data", "y_data"),
    ],
)
def test_other_names_of_inputs_and_labels(make: Preparer, x: str, y: str) -> None:
    done = make(npz(**{x: IMAGES, y: LABELS}))
    assert done.spec.targets[0].classes == ("0", "1", "2")
    assert done.decision("x") == x
    np.testing.assert_array_equal(done.array("inputs")[..., 0], IMAGES)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x_{}", "y_{}"),
        ("X_{}", "y_{}"),
        ("{}_images", "{}_labels"),
        ("{}_X", "{}_y"),
        ("x{}", "y{}"),
        ("{}", "{}_target"),
        ("{}_data", "{}_label"),
    ],
)
def test_arrays_of_splits_are_joined(make: Preparer, x: str, y: str) -> None:
    sizes = {"train": 18, "val": 6, "test": 6}
    pieces = dict(zip(sizes, np.split(np.arange(30), [18, 24]), strict=True))
    arrays = {x.format(name): IMAGES[rows] for name, rows in pieces.items()}
    arrays |= {y.format(name): LABELS[rows] for name, rows in pieces.items()}
    done = make(npz(**arrays))
    assert done.spec.rows == {"train": 18, "validation": 6, "test": 6}
    np.testing.assert_array_equal(done.array("inputs")[..., 0], IMAGES[done.array("rows")])
    assert done.array("targets")[:, 0].tolist() == LABELS[done.array("rows")].tolist()


def test_x_beside_x_test_is_train_and_splits_may_lack_labels(make: Preparer) -> None:
    done = make(npz(x=IMAGES[:20], y=LABELS[:20], x_test=IMAGES[20:], y_test=LABELS[20:]))
    assert done.spec.rows == {"train": 20, "validation": 0, "test": 10}
    for y in (LABELS[:20], np.array(["a", "b"] * 10)):
        contest = make(npz(x_train=IMAGES[:20], y_train=y, x_test=IMAGES[20:]), unlabelled="keep")
        assert contest.spec.rows == {"train": 30, "validation": 0, "test": 0}
        assert sum(contest.spec.labelled["label"].values()) == 20


@pytest.mark.parametrize(
    "names",
    [("a", "b"), ("x", "z"), ("x", "X"), ("y", "labels"), ("x_test", "y_test"), ("x_train", "y_test"), ("x", "y", "q")],
)
def test_names_that_do_not_say_what_they_hold_are_refused(refused: Refuser, names: tuple[str, ...]) -> None:
    assert "x_train" in refused(Code.BAD_ARRAY, npz(**dict.fromkeys(names, IMAGES))).message


def test_splits_that_do_not_fit_together_are_refused(refused: Refuser) -> None:
    refused(Code.BAD_ARRAY, npz(x_train=IMAGES, x_test=IMAGES[:, :5]))
    refused(Code.BAD_ARRAY, npz(x_train=IMAGES, x_test=UNIT))
    refused(Code.BAD_ARRAY, npz(x_train=IMAGES, y_train=LABELS[1:], x_test=IMAGES))
    refused(Code.BAD_ARRAY, npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=np.array(["a"] * 30)))


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("count", [2, 3, 70])
def test_one_hot_labels_are_one_target(make: Preparer, dtype: Any, count: int) -> None:
    classes = np.arange(140) % count
    x = RNG.normal(size=(140, 3))
    done = make(npz(x=x, y=np.eye(count, dtype=dtype)[classes]))
    (target,) = done.spec.targets
    assert target.classes == tuple(sorted(map(str, range(count)), key=int))
    assert [int(target.classes[int(code)]) for code in done.array("targets")[:, 0]] == classes.tolist()
    if count == 3:
        apart = make(npz(x=x, y=np.eye(3)[classes]), types={"label0": "category"})
        assert [spec.name for spec in apart.spec.targets] == ["label0", "label1", "label2"]


def test_labels_that_are_not_one_hot_stay_apart(make: Preparer) -> None:
    y = np.eye(3)[LABELS]
    y[0] = [1, 1, 0]
    assert len(make(npz(x=IMAGES, y=y)).spec.targets) == 3
    gaps = np.eye(3)[LABELS]
    gaps[0] = np.nan
    assert make(npz(x=IMAGES, y=gaps)).report.rows.removed["missing_target"] == 1


@pytest.mark.parametrize("shape", [(3, 10, 12), (1, 10, 12), (4, 16, 16)])
def test_channels_first_are_turned(make: Preparer, shape: tuple[int, ...]) -> None:
    x = RNG.integers(0, 256, (12, *shape), dtype=np.uint8)
    done = make(npy(x))
    np.testing.assert_array_equal(done.array("inputs"), np.moveaxis(x, 1, 3))
    assert done.decision("x") == "channels last"
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    np.testing.assert_array_equal(modality.decode([x[0].tolist()])[0], done.array("inputs")[0])


@pytest.mark.parametrize(
    "x",
    [
        RNG.uniform(54, 138, (30, 50, 2)),
        RNG.uniform(0, 5, (30, 24, 6)),
        RNG.uniform(0, 1, (30, 50, 2)),
        RNG.integers(40, 120, (30, 50, 2)),
        RNG.integers(40, 120, (30, 50, 2)).astype(np.uint8),
        RNG.integers(0, 4000, (30, 24, 20)),
        RNG.uniform(54, 138, (30, 50, 1)),
        RNG.uniform(0, 200, (30, 20, 24)),
    ],
)
def test_arrays_that_may_be_series_are_asked_for(make: Preparer, refused: Refuser, x: Any) -> None:
    error = refused(Code.BAD_ARRAY, npy(x))
    assert 'modality "series"' in error.message
    assert make(npy(x), modality="series").spec.shape == x.shape[1:]


@pytest.mark.parametrize(
    ("x", "warned"),
    [
        (IMAGES, False),
        (UNIT, False),
        (IMAGES.astype(np.float64), False),
        (np.repeat(UNIT, 2, axis=1)[:, :, :10], True),
        (RNG.uniform(0, 1, (30, 62, 47)), False),
        (RNG.integers(0, 256, (30, 8, 60), dtype=np.uint8), False),
        (RNG.uniform(3, 77, (30, 12, 12)), True),
    ],
)
def test_arrays_that_are_images_say_so(make: Preparer, x: Any, warned: bool) -> None:
    done = make(npy(x))
    assert (done.spec.modality, done.decision("modality")) == ("image", "image")
    assert (WarningCode.PERHAPS_SERIES in codes(done)) == warned
    assert WarningCode.PERHAPS_SERIES not in codes(make(npy(x), modality="image"))


@pytest.mark.parametrize("excess", [1e-7, 1e-3])
def test_values_around_zero_and_one_are_taken_for_them(make: Preparer, excess: float) -> None:
    x = UNIT.copy()
    x[0, 0, 0], x[1, 0, 0] = 1 + excess, -excess
    done = make(npz(x=x, y=LABELS))
    expected = IMAGES.copy()
    expected[0, 0, 0], expected[1, 0, 0] = 255, 0
    np.testing.assert_array_equal(done.array("inputs")[..., 0], expected)
    assert (done.spec.value_scale, done.report.rows.kept) == (255, 30)
    assert done.says("outside of 0 .. 1")
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    np.testing.assert_array_equal(modality.decode([row.tolist() for row in x])[..., 0], expected)


@pytest.mark.parametrize(
    ("x", "values"),
    [
        (UNIT * 2 - 1, [-1, 1]),
        (UNIT * 1.5, [0, 2]),
        (UNIT * 1.1 - 0.05, [0, 1]),
        (UNIT * 2, [0, 2]),
        (UNIT * 12, [0, 12]),
        ((UNIT - 0.5) * 6, [-3, 3]),
        (UNIT * 1000, [0, 1000]),
    ],
)
def test_other_ranges_of_fractions_are_asked_for(make: Preparer, refused: Refuser, x: Any, values: list[float]) -> None:
    message = refused(Code.BAD_ARRAY, npy(x)).message
    assert f'image={{"pixel_range": [{values[0]}, {values[1]}]}}' in message
    done = make(npy(x), image={"pixel_range": values})
    low, high = values
    expected = np.rint((x.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255)
    np.testing.assert_array_equal(done.array("inputs")[..., 0], expected)
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    np.testing.assert_array_equal(modality.decode([x[3].tolist()])[0], done.array("inputs")[3])


@pytest.mark.parametrize(
    ("x", "pixel_range"),
    [
        (IMAGES.astype(np.uint16) + 1500, (1500, 1755)),
        (IMAGES.astype(np.uint16) * 16, (0, 4080)),
        (IMAGES.astype(np.uint16) * 257, (0, 65535)),
        (IMAGES.astype(np.int32) * 16, (0, 4080)),
        (IMAGES.astype(np.int16) * 8 - 1024, (-1024, 1016)),
    ],
)
def test_deep_integers_are_scaled_by_their_range(make: Preparer, x: Any, pixel_range: tuple[int, int]) -> None:
    x[0, 0, :2] = np.array(pixel_range).astype(x.dtype)
    done = make(npy(x))
    assert done.spec.pixel_range == pixel_range
    assert done.decision("image.pixel_range") == f"{pixel_range[0]} .. {pixel_range[1]}"
    expected = np.rint((x - np.float64(pixel_range[0])) * (255 / (pixel_range[1] - pixel_range[0])))
    np.testing.assert_array_equal(done.array("inputs")[..., 0], expected)
    modality = ImageModality.fit(done.array("inputs"), done.spec)
    np.testing.assert_array_equal(modality.decode([x[0].tolist()])[0, ..., 0], expected[0])


@pytest.mark.parametrize("values", [[1, 1], [2, 1], [float("nan"), 1], [0, 5e-324], [-1.7e308, 1.7e308]])
def test_ranges_that_are_none(values: list[float]) -> None:
    with pytest.raises(ValueError, match="the smaller one first"):
        ImageOptions(pixel_range=(values[0], values[1]))
