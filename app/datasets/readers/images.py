"""Zips of images: a folder for each class, or flat and unlabelled; folders train and test around them are splits.

Names of members are labels only; nothing is written under them. Rows are numbered by the sorted names of the images.
"""

import statistics
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes, Ints, Loaded
from app.datasets.options import ImageOptions
from app.datasets.readers.archive import open_archive, read_member
from app.datasets.readers.folders import ROLES, TYPES, ends_in, folder_columns, read_folders, some, without_junk
from app.datasets.readers.pixels import CorruptImageError, HugeImageError, Look, decode, look
from app.datasets.report import Notes, Removal
from app.ml.data.spec import Resize

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MEDIAN_LIMIT = 128
MAX_ERRORS = 20
HOW: dict[Resize, str] = {
    "stretch": "each side was scaled on its own",
    "pad": "both sides were scaled alike, with black around",
    "crop": "both sides were scaled alike, and the edges cut off",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image of the archive: its row, its member and what its header says."""

    row: int
    info: zipfile.ZipInfo
    look: Look


def read_images(path: Path, context: Context) -> Loaded:
    """Read all images into one array of one size.

    Raises:
        DatasetError: bad_archive, bad_name, bad_image, mixed_layout, encrypted, too_large or empty_dataset.
    """
    with open_archive(path, context.limits) as (archive, infos):
        members = _images_among(infos, context.notes)
        said = read_folders([info.filename for info in members], context)
        seen, corrupt = _look_at_all(archive, members, context)
        inputs, rows = _decode_all(archive, seen, corrupt, context)
    _check_corrupt(len(corrupt), len(members), corrupt)
    columns = folder_columns(said, rows)
    found = tuple(sorted(corrupt, key=lambda removal: removal.row))
    return Loaded("zip", "image", len(members), rows, inputs, columns, dict(ROLES), dict(TYPES), found)


def _images_among(infos: list[zipfile.ZipInfo], notes: Notes) -> list[zipfile.ZipInfo]:
    rest = without_junk(infos, notes)
    others = [info for info in rest if not ends_in(info, ENDINGS)]
    if others:
        message = f"{len(others)} files are no .jpg, .png or .webp images; take them out: {some(others)}"
        errors = [RowError(("file", info.filename[:200]), "this is no image") for info in others[:MAX_ERRORS]]
        raise DatasetError(Code.BAD_IMAGE, message, errors)
    if not rest:
        raise DatasetError(Code.EMPTY_DATASET, "the archive holds no images; put some into it")
    return rest


def _look_at_all(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], context: Context
) -> tuple[list[_Seen], list[Removal]]:
    seen: list[_Seen] = []
    corrupt: list[Removal] = []
    huge: list[RowError] = []
    for row, info in enumerate(members):
        try:
            data = read_member(archive, info, context.limits.member_bytes)
            seen.append(_Seen(row, info, look(data, context.limits)))
        except CorruptImageError as error:
            corrupt.append(_corrupt(row, info, error))
        except HugeImageError as error:
            huge.append(RowError(("file", info.filename[:200]), f"{error}; make it smaller", row))
        if len(huge) >= MAX_ERRORS:
            break
        if row % 256 == 0:
            context.progress(0.2 * row / len(members), f"{row} images looked at")
    if huge:
        raise DatasetError(Code.BAD_IMAGE, f"{huge[0].loc[1]}: {huge[0].msg}", huge)
    _check_corrupt(len(corrupt), len(members), corrupt)
    return seen, corrupt


def _corrupt(row: int, info: zipfile.ZipInfo, error: CorruptImageError) -> Removal:
    return Removal(row=row, reason="corrupt", detail=f"{info.filename[:200]}: {error}")


def _check_corrupt(bad: int, total: int, corrupt: list[Removal]) -> None:
    if 2 * bad > total:
        message = f"{bad} of {total} images cannot be read; is this archive whole?"
        errors = [RowError(("file",), removal.detail, removal.row) for removal in corrupt[:MAX_ERRORS]]
        raise DatasetError(Code.BAD_IMAGE, message, errors)


def _decode_all(
    archive: zipfile.ZipFile, seen: list[_Seen], corrupt: list[Removal], context: Context
) -> tuple[Bytes, Ints]:
    """Return the images that can be decoded, uint8 (N, H, W, C), and their rows (N,)."""
    looks = [item.look for item in seen]
    wish = context.options.image or ImageOptions()
    height, width, gray = _common_shape(looks, wish, context.notes)
    shape = (len(seen), height, width, 1 if gray else 3)
    if np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = f"{shape[0]} images of {height} x {width} are too large; give a smaller image.height and image.width"
        raise DatasetError(Code.TOO_LARGE, message)
    out = np.lib.format.open_memmap(context.work / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    rows: list[int] = []
    for item in seen:
        data = read_member(archive, item.info, context.limits.member_bytes)
        try:
            out[len(rows)] = decode(data, height, width, gray=gray, limits=context.limits, resize=wish.resize)
            rows.append(item.row)
        except CorruptImageError as error:
            corrupt.append(_corrupt(item.row, item.info, error))
        if item.row % 256 == 0:
            context.progress(0.2 + 0.3 * len(rows) / len(seen), f"{len(rows)} images decoded")
    return out[: len(rows)], np.array(rows, dtype=np.int64)


def _common_shape(looks: list[Look], wish: ImageOptions, notes: Notes) -> tuple[int, int, bool]:
    _notice_kinds(looks, notes)
    gray = wish.mode == "gray"
    if wish.mode is None:
        gray = all(item.gray for item in looks)
        some = "every image is gray" if gray else "at least one image has colours"
        notes.decide("image.mode", "gray" if gray else "rgb", some)
    height, width = _common_size(looks, wish, notes)
    others = sum((item.height, item.width) != (height, width) for item in looks)
    if others:
        why = f"{others} of {len(looks)} images have another size: {HOW[wish.resize]}"
        notes.decide("image.resize", wish.resize, why)
    return height, width, gray


def _common_size(looks: list[Look], wish: ImageOptions, notes: Notes) -> tuple[int, int]:
    if wish.height is not None and wish.width is not None:
        return wish.height, wish.width
    sizes = {(item.height, item.width) for item in looks}
    if len(sizes) == 1:
        return sizes.pop()
    height = min(MEDIAN_LIMIT, int(statistics.median(item.height for item in looks)))
    width = min(MEDIAN_LIMIT, int(statistics.median(item.width for item in looks)))
    why = f"images have {len(sizes)} sizes; all were resized to the median, at most {MEDIAN_LIMIT}"
    notes.decide("image", f"{height} x {width}", why)
    return height, width


def _notice_kinds(looks: list[Look], notes: Notes) -> None:
    animated = sum(item.animated for item in looks)
    deep = sum(item.deep for item in looks)
    transparent = sum(item.transparent for item in looks)
    if animated:
        notes.notice(f"{animated} images have several frames; the first was taken")
    if deep:
        notes.notice(f"{deep} images have 16 bits a pixel and were scaled to 8")
    if transparent:
        notes.notice(f"{transparent} images are transparent and were laid over black")
