"""Zips of images: layouts, names, formats, sizes, and what is removed or refused."""

import io
import stat
import struct
import unicodedata
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from app.datasets.errors import Code
from app.datasets.limits import Limits
from app.datasets.readers.pixels import read_info
from app.datasets.readers.ranges import DeepPixels
from app.ml.data.image_decoding import draw
from app.ml.spec import Resize

from .conftest import Preparer, Refuser, picture, zipped


def classes(count: int = 6, **save: object) -> dict[str, bytes]:
    return {f"{('cat', 'dog')[k % 2]}/{k}.png": picture(k) for k in range(count)}


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def test_class_folders(make: Preparer) -> None:
    done = make(zipped(classes()))
    assert done.spec.shape == (6, 8, 3)
    assert done.spec.targets[0].classes == ("cat", "dog")
    assert done.array("rows").tolist() == list(range(6))
    assert done.array("targets")[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.asarray(Image.open(io.BytesIO(picture(0))))
    np.testing.assert_array_equal(done.array("inputs")[0], expected)


def test_flat_and_wrapped_archives(make: Preparer) -> None:
    assert make(zipped({f"{k}.png": picture(k) for k in range(4)})).spec.targets == ()
    wrapped = make(zipped({f"set/{name}": data for name, data in classes().items()}))
    assert wrapped.spec.targets[0].classes == ("cat", "dog")
    assert wrapped.decision("folder") == "set"
    single = make(zipped({f"photos/{k}.png": picture(k) for k in range(4)}))
    assert single.spec.targets == ()


def test_folders_of_splits(make: Preparer) -> None:
    members = {
        f"set/{('train', 'val', 'test')[k % 3]}/{('cat', 'dog')[k // 3 % 2]}/{k}.png": picture(k) for k in range(12)
    }
    done = make(zipped(members))
    assert done.spec.targets[0].classes == ("cat", "dog")
    assert done.spec.rows == {"train": 4, "validation": 4, "test": 4}
    assert done.array("split").tolist() == [2] * 4 + [0] * 4 + [1] * 4
    flat = make(zipped({f"{('train', 'test')[k % 2]}/{k}.png": picture(k) for k in range(4)}))
    assert flat.spec.targets == ()
    assert flat.spec.rows == {"train": 2, "validation": 0, "test": 2}
    lopsided = make(zipped({"train/cat/1.png": picture(1), "test/dog/2.png": picture(2)}))
    assert lopsided.says("train has no row of 1 classes: dog")


def test_many_small_classes_are_classes(make: Preparer) -> None:
    done = make(zipped({f"c{k:02}/1.png": picture(k) for k in range(30)}))
    assert len(done.spec.targets[0].classes) == 30
    assert done.spec.rows["train"] == 30


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_formats(make: Preparer, kind: str) -> None:
    ending = {"PNG": "png", "JPEG": "JPG", "WEBP": "webp"}[kind]
    done = make(zipped({f"{k}.{ending}": picture(k, kind=kind) for k in range(3)}))
    assert done.spec.shape == (6, 8, 3)


def test_colours(make: Preparer) -> None:
    assert make(zipped({f"{k}.png": picture(k, "L") for k in range(3)})).spec.shape == (6, 8, 1)
    mixed = make(zipped({"1.png": picture(1, "L"), "2.png": picture(2)}))
    assert mixed.spec.shape == (6, 8, 3)
    first = mixed.array("inputs")[0]
    np.testing.assert_array_equal(first[..., 0], first[..., 2])
    gray = make(zipped({"1.png": picture(1), "2.png": picture(2)}), image={"height": 6, "width": 8, "mode": "gray"})
    assert gray.spec.shape == (6, 8, 1)


def test_transparency_lies_over_black(make: Preparer) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[...] = (200, 100, 50, 0)
    pixels[0, 0, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    done = make(zipped({"1.png": buffer.getvalue(), "2.png": picture(1, size=(2, 2))}))
    assert done.array("inputs")[0].tolist() == [[[200, 100, 50], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert done.says("1 images are transparent")


def test_sixteen_bits_are_scaled_not_clipped(make: Preparer) -> None:
    deep = np.array([[0, 257, 32768], [65535, 1000, 513]], np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    done = make(zipped({"1.png": buffer.getvalue(), "2.png": picture(1, "L", (3, 2))}))
    np.testing.assert_array_equal(done.array("inputs")[0, ..., 0], np.rint(deep / 257))
    assert done.says("16 bits")


def test_orientation_is_honoured(make: Preparer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    done = make(zipped({f"{k}.png": picture(k, "L", (8, 6), exif=exif) for k in range(2)}))
    assert done.spec.shape == (8, 6, 1)
    upright = np.asarray(Image.open(io.BytesIO(picture(0, "L", (8, 6)))).rotate(-90, expand=True))
    np.testing.assert_array_equal(done.array("inputs")[0, ..., 0], upright)


XMP = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind the pixels"])
@pytest.mark.parametrize("kind", [b"eXIf", b"iTXt"])
def test_orientation_is_honoured_wherever_a_png_says_it(make: Preparer, kind: bytes, *, behind: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes().removeprefix(b"Exif\0\0") if kind == b"eXIf" else XMP
    chunk = struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))
    plain = picture(0, "L", (8, 6))
    place = plain.index(b"IEND" if behind else b"IDAT") - 4
    done = make(
        zipped(
            {f"{k}.png": plain[:place] + chunk + plain[place:] for k in range(2)},
        ),
        duplicates="keep",
    )
    assert done.spec.shape == (8, 6, 1)
    upright = np.asarray(Image.open(io.BytesIO(plain)).rotate(-90, expand=True))
    np.testing.assert_array_equal(done.array("inputs")[0, ..., 0], upright)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_headers_are_read_without_decoding(kind: str) -> None:
    data = picture(0, size=(80, 60), kind=kind)
    info = read_info(data[: len(data) // 2], Limits(), DeepPixels())
    assert (info.height, info.width, info.gray) == (60, 80, False)


def test_animations_give_their_first_frame(make: Preparer) -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    done = make(zipped({"1.png": buffer.getvalue(), "2.png": picture(1, size=(4, 4))}))
    assert (done.array("inputs")[0] == 10).all()
    assert done.says("several frames")


def test_mixed_sizes_are_decided_and_said(make: Preparer) -> None:
    members = {f"{k}.png": picture(k, size=(10 + 2 * k, 20)) for k in range(3)}
    done = make(zipped(members))
    assert done.spec.shape == (20, 12, 3)
    assert done.decision("image") == "20 x 12"
    assert make(zipped(members), image={"height": 7, "width": 9}).spec.shape == (7, 9, 3)
    large = make(zipped({f"{k}.png": picture(k, "L", size=(300, 200 + k)) for k in range(3)}))
    assert large.spec.shape == (128, 128, 1)


def test_corrupt_images_are_removed_and_listed(make: Preparer) -> None:
    whole = picture(99, kind="JPEG", size=(40, 40))
    members = classes(8) | {"cat/cut.png": picture(50)[:80], "dog/text.jpg": b"hello", "dog/gif.png": b"GIF89a" + whole}
    done = make(zipped(members))
    assert done.report.rows.model_dump()["removed"]["corrupt"] == 3
    assert (done.report.rows.read, done.report.rows.kept) == (11, 8)
    assert [removal.detail.split(":")[0] for removal in done.report.removals] == [
        "cat/cut.png",
        "dog/gif.png",
        "dog/text.jpg",
    ]
    assert done.array("rows").tolist() == [0, 1, 2, 3, 5, 6, 7, 8]


def test_truncated_jpegs_are_corrupt(make: Preparer) -> None:
    members = {f"{k}.jpg": picture(k, kind="JPEG", size=(64, 64)) for k in range(3)}
    members["0.jpg"] = members["0.jpg"][: len(members["0.jpg"]) // 2]
    assert make(zipped(members)).report.rows.removed["corrupt"] == 1


def test_mostly_corrupt_is_refused(refused: Refuser) -> None:
    error = refused(Code.BAD_IMAGE, zipped({"1.png": picture(1), "2.png": b"x", "3.png": b"y"}))
    assert [fault.row for fault in error.errors] == [1, 2]


def test_junk_is_ignored_and_other_files_are_refused(make: Preparer, refused: Refuser) -> None:
    junk = {"__MACOSX/cat/._0.png": b"x", "cat/.DS_Store": b"x", "dog/Thumbs.db": b"x", "desktop.ini": b"x"}
    done = make(zipped(classes() | junk))
    assert done.report.rows.read == 6
    assert done.says("4 files that systems leave behind")
    error = refused(Code.BAD_IMAGE, zipped(classes() | {"cat/moving.gif": b"x", "scan.tiff": b"x"}))
    assert error.message.startswith("2 files are no .jpg")


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png",
        "/abs/1.png",
        "C:/x/1.png",
        "a/../b.png",
        "a//b.png",
        "..\\..\\evil.png",
        "\\abs\\1.png",
        "\\\\host\\share\\1.png",
        "C:\\x\\1.png",
        "C:x.png",
        "a\\..\\b.png",
        "a/..\\..\\b.png",
    ],
)
def test_names_that_lead_elsewhere_are_refused(refused: Refuser, name: str) -> None:
    refused(Code.BAD_NAME, zipped(classes() | {name: picture(9)}))


@pytest.mark.parametrize("folder", [" ", "x" * 256, "bell\x07", "line\nbreak"])
def test_class_names_that_are_none(refused: Refuser, folder: str) -> None:
    refused(Code.BAD_NAME, zipped(classes() | {f"{folder}/1.png": picture(9)}))


@pytest.mark.parametrize("twin", ["Caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), "caf\u00e9 "])
def test_twins_of_a_class_are_refused(refused: Refuser, twin: str) -> None:
    refused(
        Code.BAD_NAME, zipped({"caf\u00e9/1.png": picture(1), f"{twin}/2.png": picture(2), "tea/3.png": picture(3)})
    )


def test_class_names_are_labels_only(make: Preparer) -> None:
    done = make(zipped({"<script>/1.png": picture(1), "con/2.png": picture(2)}))
    assert done.spec.targets[0].classes == ("<script>", "con")


def test_symbolic_links_are_refused(refused: Refuser) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(Code.BAD_NAME, buffer.getvalue())


def test_layouts_that_are_refused(refused: Refuser) -> None:
    refused(Code.MIXED_LAYOUT, zipped(classes() | {"loose.png": picture(9)}))
    refused(Code.EMPTY_DATASET, zipped({}))
    refused(Code.EMPTY_DATASET, zipped({".DS_Store": b"x"}))
    refused(Code.UNSUPPORTED_FORMAT, zipped({"[Content_Types].xml": b"x", "xl/book.xml": b"x"}))
    refused(Code.TOO_MANY_CLASSES, zipped(classes()), Limits(classes=1))


def test_huge_images_are_refused_before_they_are_decoded(refused: Refuser) -> None:
    for size in [(12_000, 12_000), (60_000, 1), (5_001, 5_000), (2_000_000_000, 2_000_000_000)]:
        error = refused(Code.BAD_IMAGE, zipped({"1.png": picture(1), "2.png": png_claiming(*size)}))
        assert error.errors[0].row == 1
    refused(Code.TOO_LARGE, zipped(classes()), Limits(member_bytes=10))
    refused(Code.TOO_LARGE, zipped(classes()), Limits(canonical_bytes=100))


def test_a_one_pixel_image_is_an_image(make: Preparer) -> None:
    assert make(zipped({f"{k}.png": picture(k, "L", (1, 1)) for k in range(3)})).spec.shape == (1, 1, 1)


def test_nested_archives_are_not_opened(refused: Refuser) -> None:
    refused(Code.BAD_IMAGE, zipped({"inner.zip": zipped(classes())}))


def test_a_damaged_member_is_named(refused: Refuser) -> None:
    data = bytearray(zipped(classes()))
    data[data.index(b"IDAT") + 10] ^= 0xFF
    assert "cat/0.png" in refused(Code.BAD_ARCHIVE, bytes(data)).message


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (31, 2)])
def test_images_of_any_mode_and_size(make: Preparer, mode: str, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    source = Image.open(io.BytesIO(picture(5, size=size)))
    if mode == "I;16":
        source = Image.fromarray(np.asarray(source.convert("L"), dtype=np.uint16) * 257)
    else:
        source = source.convert("RGBA").convert(mode) if mode == "LA" else source.convert(mode)
    source.save(buffer, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    done = make(zipped({"1.png": buffer.getvalue(), "2.png": picture(1)}), image={"height": 5, "width": 6})
    assert done.spec.shape == (5, 6, 3)
    assert done.report.rows.kept == 2
    reference = Image.open(io.BytesIO(buffer.getvalue()))
    reference = source.convert("L") if mode == "I;16" else reference.convert("RGB")
    if mode == "I;16":
        reference = Image.fromarray((np.asarray(source) // 257).astype(np.uint8)).convert("RGB")
    expected = np.asarray(reference.resize((6, 5), Image.Resampling.BILINEAR))
    assert np.abs(done.array("inputs")[0].astype(int) - expected).max() <= 1


def test_three_ways_to_resize(make: Preparer) -> None:
    wide = np.full((4, 8, 3), 200, np.uint8)
    wide[:, :2], wide[:, 6:] = 10, 90  # what crop cuts off
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    members = {"1.png": buffer.getvalue(), "2.png": picture(1, size=(4, 4))}
    outcomes = {
        mode: make(zipped(members), image={"height": 4, "width": 4, "resize": mode})
        for mode in ("stretch", "pad", "crop")
    }
    rows = {mode: done.array("inputs")[0][..., 0] for mode, done in outcomes.items()}
    assert (rows["crop"] == 200).all()
    assert (rows["pad"][[0, 3]] == 0).all()
    assert rows["pad"][1, 0] < 100 < rows["pad"][1, 1]
    assert rows["stretch"][0, 0] < 100 < rows["stretch"][0, 1]
    assert {mode: (done.decision("image.resize"), done.spec.resize) for mode, done in outcomes.items()} == {
        mode: (mode, mode) for mode in outcomes
    }


@pytest.mark.parametrize("mode", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (3, 2), (5, 5)])
def test_any_size_is_resized_in_any_way(mode: Resize, shape: tuple[int, int]) -> None:
    image = Image.fromarray(np.full(shape, 255, np.uint8))
    drawn = draw(image, 4, 6, 1, mode)
    assert drawn.shape == (4, 6, 1)
    assert drawn.max() > 0
    assert (drawn == 255).all() == (mode != "pad" or shape == (4, 6))


def test_images_of_arrays_are_resized_where_asked_for(make: Preparer) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, x=pixels, y=np.arange(6) % 2)
    done = make(buffer.getvalue(), image={"height": 4, "width": 6, "mode": "rgb"})
    assert (done.spec.shape, done.decision("image.resize")) == ((4, 6, 3), "stretch")
    expected = [np.asarray(Image.fromarray(image).resize((6, 4), Image.Resampling.BILINEAR)) for image in pixels]
    order = done.array("rows")
    np.testing.assert_array_equal(done.array("inputs")[..., 1], np.stack(expected)[order])
    assert make(buffer.getvalue(), image={"mode": "gray"}).spec.shape == (8, 8, 1)
