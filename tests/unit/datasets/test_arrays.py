"""npy and npz: types, shapes, labels, and headers that lie."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits

from .conftest import Preparer, Refuser, npy, npz, zipped

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 5, 4), dtype=np.uint8)
ROWS = RNG.normal(size=(30, 3))


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1") + data


def test_images_without_labels(make: Preparer) -> None:
    done = make(npy(IMAGES))
    assert done.spec.shape == (5, 4, 1)
    assert done.spec.targets == ()
    assert "targets.npy" not in done.files
    np.testing.assert_array_equal(done.array("inputs")[..., 0], IMAGES)
    assert done.report.image is not None
    assert done.report.image.mean[0] == pytest.approx(IMAGES.mean())
    assert done.report.image.std[0] == pytest.approx(IMAGES.std())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(make: Preparer, channels: int) -> None:
    x = RNG.integers(0, 256, (10, 5, 4, channels), dtype=np.uint8)
    np.testing.assert_array_equal(make(npz(x=x)).array("inputs"), x)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (IMAGES.astype(np.float32) / 255, IMAGES),
        (IMAGES.astype(np.float64), IMAGES),
        (IMAGES.astype(">i4"), IMAGES),
        (IMAGES.astype(np.uint16), IMAGES),
        (IMAGES > 127, (IMAGES > 127) * np.uint8(255)),
        (np.asfortranarray(IMAGES), IMAGES),
    ],
)
def test_other_pixel_types_are_converted_and_said(make: Preparer, x: Any, expected: Any) -> None:
    done = make(npy(x))
    np.testing.assert_array_equal(done.array("inputs")[..., 0], expected)
    assert done.array("inputs").flags.c_contiguous
    assert x.dtype == np.uint8 or done.decision("x")
    assert done.spec.value_scale == (255 if x.max() <= 1 else 1)


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">f8", "i1", "u8", "?"])
def test_rows_of_any_number_type(make: Preparer, dtype: str) -> None:
    x = (RNG.normal(size=(30, 5)) * 20).astype(dtype)
    done = make(npy(np.asfortranarray(x)), duplicates="keep")
    np.testing.assert_array_equal(done.array("inputs"), x.astype(np.float64))
    assert [column.name for column in done.spec.columns] == [f"x{j}" for j in range(5)]


@pytest.mark.parametrize(
    "x",
    [
        np.array([{"a": 1}], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.ones((3, 2), dtype=np.complex64),
        np.ones((3, 2), dtype="M8[s]"),
        np.ones((3, 2), dtype="V4"),
        np.ones((3, 2), dtype=np.longdouble),
        np.ones((3, 2), dtype="S3"),
        np.array([["a", "b"]]),
        np.ones(3),
        np.float64(1),
        np.ones((2, 2, 2, 2)),
        np.ones((2, 2, 2, 3, 1)),
        IMAGES.astype(np.float32) / 255 - 0.5,
        IMAGES.astype(np.int32) * 300,
    ],
)
def test_arrays_that_are_refused(refused: Refuser, x: Any) -> None:
    refused(Code.BAD_ARRAY, npy(x))


def test_a_pickle_inside_is_never_run(refused: Refuser) -> None:
    text = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    error = refused(Code.BAD_ARRAY, header(text, b"cos\nsystem\n(S'false'\ntR."))
    assert "never loaded" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3)}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, -3)}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 3)}\n",
        "{'descr': '<f8', 'fortran_order': 2, 'shape': (2, 3)}\n",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (2, 3)}\n",
        "{'descr': '<f8'}\n",
        "__import__('os').abort()\n",
        "(" * 5000 + "\n",
        "1" * 6000 + "\n",
        "[" * 9000 + "\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0x" + "f" * 5000 + ",)}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-0x" + "f" * 5000 + ",)}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 9223372036854775807)}\n",
        "{'descr': '<f8', 'fortran_order': True, 'shape': (4611686018427387904, 0, 4611686018427387904)}\n",
    ],
)
def test_headers_that_lie(refused: Refuser, text: str) -> None:
    refused(Code.BAD_ARRAY, header(text))
    refused(Code.BAD_ARRAY, header(text, b"\0" * 48))
    refused(Code.BAD_ARRAY, header(text, b"\0" * 48, version=2))


def test_header_length_and_version_are_bounded(refused: Refuser) -> None:
    refused(Code.BAD_ARRAY, b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{")
    refused(Code.BAD_ARRAY, b"\x93NUMPY\x03\x00\x10\x00\x00\x00" + b"{" * 16)
    refused(Code.BAD_ARRAY, b"\x93NUMPY\x01")
    refused(Code.BAD_ARRAY, npy(IMAGES)[:-1])
    refused(Code.BAD_ARRAY, npy(IMAGES) + b"\0")


def test_empty_and_too_large(refused: Refuser) -> None:
    refused(Code.EMPTY_DATASET, npy(np.empty((0, 5, 5), np.uint8)))
    refused(Code.EMPTY_DATASET, npy(np.empty((5, 0))))
    refused(Code.TOO_LARGE, npy(np.zeros((2, 4097), np.int8)))
    refused(Code.TOO_LARGE, npy(ROWS), Limits(rows=3))
    refused(Code.TOO_LARGE, npy(np.zeros((1, 10_001, 1), np.uint8)))


def test_number_faults_name_row_and_column(make: Preparer, refused: Refuser) -> None:
    x = ROWS.copy()
    x[7, 2], x[9, 0], x[11, 1] = np.inf, 1e300, np.nan
    error = refused(Code.BAD_NUMBER, npy(x))
    assert [(fault.row, fault.loc) for fault in error.errors] == [(7, ("x2",)), (9, ("x0",))]
    done = make(npy(x), missing="impute")
    assert [column.missing for column in done.report.columns] == [1, 1, 1]
    images = IMAGES.astype(np.float32) / 255
    images[3, 1, 1] = np.nan
    assert refused(Code.BAD_NUMBER, npy(images)).errors[0].row == 3


@pytest.mark.parametrize(("dtype", "raw", "bits"), [("f4", "u4", 0x7F800001), ("f8", "u8", 0x7FF0000000000001)])
def test_signalling_nans_are_missing_values(make: Preparer, dtype: str, raw: str, bits: int) -> None:
    x, y = ROWS.astype(dtype), RNG.normal(size=30).astype(dtype)
    x.view(raw)[3, 0] = bits
    y.view(raw)[4] = bits
    done = make(npz(x=x, y=y))
    assert done.report.columns[0].missing == 1
    assert done.report.rows.removed["missing_target"] == 1


def test_an_array_column_without_values_is_refused(refused: Refuser) -> None:
    x = ROWS.copy()
    x[:, 1] = np.nan
    assert refused(Code.EMPTY_COLUMN, npy(x)).errors[0].loc == ("x1",)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.arange(30) % 11, tuple(map(str, range(11)))),
        (np.arange(30) % 3 - 1, ("-1", "0", "1")),
        (np.arange(30) % 3 * 5, ("0", "5", "10")),
        (np.arange(30) % 2 == 0, ("false", "true")),
        (np.array(["x", "yy"] * 15), ("x", "yy")),
        (np.array(["10", "9"] * 15), ("9", "10")),
        ((np.arange(30) % 3).astype(np.float64), ("0", "1", "2")),
        ((np.arange(30) % 3).astype(np.uint8).reshape(30, 1), ("0", "1", "2")),
    ],
)
def test_labels_become_classes(make: Preparer, y: Any, classes: tuple[str, ...]) -> None:
    done = make(npz(x=IMAGES, y=y))
    target = done.spec.targets[0]
    assert (target.name, target.classes) == ("label", classes)
    names = [target.classes[int(code)] for code in done.array("targets")[:, 0]]
    spelled = {True: "true", False: "false"} if y.dtype.kind == "b" else None
    flat = y.reshape(-1).tolist()
    assert names == [spelled[v] if spelled else (v if isinstance(v, str) else str(int(v))) for v in flat]


def test_numbers_as_labels(make: Preparer) -> None:
    y = RNG.normal(size=30)
    done = make(npz(x=ROWS, y=y))
    assert done.spec.targets[0].type == "number"
    np.testing.assert_array_equal(done.array("targets")[:, 0], y)
    assert make(npz(x=ROWS, y=np.arange(30))).spec.targets[0].type == "number"
    assert make(npz(x=ROWS, y=np.arange(30)), types={"label": "category"}).spec.targets[0].type == "category"


def test_several_targets_and_missing_ones(make: Preparer) -> None:
    y = np.stack([np.arange(30) % 2, RNG.normal(size=30)], axis=1)
    y[0] = np.nan
    y[1, 0] = np.nan
    done = make(npz(x=IMAGES, y=y))
    assert [target.name for target in done.spec.targets] == ["label0", "label1"]
    assert done.report.rows.removed["missing_target"] == 1
    assert sum(done.spec.labelled["label0"].values()) == 28
    assert sum(done.spec.labelled["label1"].values()) == 29


def test_minus_one_is_said_to_be_a_class(make: Preparer) -> None:
    assert make(npz(x=IMAGES, y=np.arange(30) % 3 - 1)).says("-1 is a class")


@pytest.mark.parametrize("split", [np.arange(30) % 3, np.array(["train", "validation", "test"] * 10)])
def test_split_array_wins(make: Preparer, split: Any) -> None:
    done = make(npz(x=IMAGES, split=split))
    assert done.array("split").tolist() == [i % 3 for i in range(30)]
    assert done.array("split").dtype == np.uint8


def test_npz_with_other_members(refused: Refuser) -> None:
    refused(Code.BAD_ARRAY, npz(y=IMAGES, z=IMAGES))
    refused(Code.BAD_ARRAY, npz(x=IMAGES, z=IMAGES))
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=np.arange(29)))
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=np.zeros((30, 2, 2))))
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=np.array(["a" * 300] * 30)))
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=np.int64(3)))
    refused(Code.BAD_ARRAY, zipped({"x.npy": npy(IMAGES), "y": b"1"}))
    refused(Code.BAD_SPLIT, npz(x=IMAGES, split=np.full(30, 3)))
    refused(Code.ONE_CLASS, npz(x=IMAGES, y=np.zeros(30, np.int64)))


def test_text_outside_unicode_is_refused(refused: Refuser) -> None:
    y = np.array(["a"] * 30)
    surrogate = y.copy()
    surrogate.view(np.uint32)[4] = 0xD800
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=surrogate))
    beyond = y.copy()
    beyond.view(np.uint32)[4] = 0x110000
    refused(Code.BAD_ARRAY, npz(x=IMAGES, y=beyond))


def test_single_columns_of_an_array_can_be_named(make: Preparer) -> None:
    x = np.stack([np.arange(30) % 4, RNG.normal(size=30), RNG.normal(size=30)], axis=1)
    done = make(npy(x), columns={"x2": "target"}, types={"x0": "category"})
    assert [(column.name, column.type) for column in done.spec.columns] == [("x0", "category"), ("x1", "number")]
    assert done.spec.columns[0].categories == ("0", "1", "2", "3")
    assert done.spec.targets[0].name == "x2"


def test_labels_with_an_array(make: Preparer, refused: Refuser) -> None:
    data = npz(x=IMAGES, y=np.arange(30) % 3)
    assert make(data, columns={"label": "ignored"}).spec.targets == ()
    grouped = make(data, columns={"label": "group"})
    assert len(set(zip(grouped.array("split").tolist(), (np.arange(30) % 3).tolist(), strict=True))) == 3
    refused(Code.BAD_ROLES, data, columns={"label": "input"})


def test_constant_columns_of_an_array_stay(make: Preparer) -> None:
    x = ROWS.copy()
    x[:, 1] = 4
    assert make(npy(x)).spec.shape == (3,)


def test_archive_rules(refused: Refuser) -> None:
    good = npz(x=IMAGES)
    refused(Code.BAD_ARCHIVE, good[: len(good) // 2])
    broken = bytearray(zipped({"x.npy": npy(IMAGES)}))
    broken[200] ^= 1
    assert "x.npy" in refused(Code.BAD_ARCHIVE, bytes(broken)).message
    locked = bytearray(good)
    locked[good.index(b"PK\x01\x02") + 8] |= 1
    refused(Code.ENCRYPTED, bytes(locked))
    refused(Code.TOO_LARGE, good, Limits(members=0))
    refused(Code.TOO_LARGE, good, Limits(unpacked_bytes=100))
    twice = zipped({"x.npy": npy(IMAGES), "y.npy": npy(IMAGES)}).replace(b"y.npy", b"x.npy")
    assert "twice" in refused(Code.BAD_ARCHIVE, twice).message
    refused(Code.BAD_ARCHIVE, zipped({"x.npy": npy(IMAGES)}, zipfile.ZIP_LZMA))


def test_zip64_archives_are_counted_too(make: Preparer, refused: Refuser) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{k}.dat"), b"")
    refused(Code.TOO_LARGE, buffer.getvalue(), Limits(members=69_999))
    moved = bytearray(buffer.getvalue())
    moved[moved.rindex(b"PK\x06\x07") + 8] ^= 1
    refused(Code.BAD_ARCHIVE, bytes(moved))
    refused(Code.BAD_IMAGE, buffer.getvalue(), Limits(members=70_000))


@pytest.mark.parametrize(
    "head",
    [b"\x1f\x8b\x08", b"%PDF-1.7", b"\x80\x04\x95", b"Rar!", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"],
)
def test_other_formats_are_named(refused: Refuser, head: bytes) -> None:
    refused(Code.UNSUPPORTED_FORMAT, head + bytes(range(256)))
