"""Reads zips of images: a folder for each class, or flat and unlabelled; folders train and test around them are splits.

Names of members only give labels; no file is written under them. Rows are numbered by the sorted names of the images.
"""

import hashlib
import itertools
import statistics
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes, Ints, Loaded
from app.datasets.frames.chunks import row_chunks
from app.datasets.frames.decodings import Decodings, decoding_keys
from app.datasets.limits import Limits
from app.datasets.options import ImageOptions
from app.datasets.readers.archive import open_archive, read_member
from app.datasets.readers.backgrounds import choose_background
from app.datasets.readers.contents import (
    NOT_READ,
    Contents,
    ending,
    name_some,
    sort_members,
)
from app.datasets.readers.label_tables import read_labels
from app.datasets.readers.pixels import CorruptImageError, Drawing, HugeImageError, ImageInfo, decode, read_info
from app.datasets.readers.ranges import DeepPixels, warn_of_dark
from app.datasets.report import Notes, Removal
from app.kit.parts import Processes
from app.ml.spec import Resize, WarningCode

_PART_IMAGES, _PART_BYTES = 64, 16 << 20
_MIN_PIXELS = 32 << 20  # of fewer, starting processes would cost more than they save
MAX_MEDIAN_SIDE = 128
MAX_ROW_ERRORS = 20
MAX_DARK = 127
OUT = "take them out"
ADVICE = (
    (
        frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"}),
        "unpack these archives, and pack the files",
    ),
    (
        frozenset({".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif", ".jp2"}),
        "save them as PNG, or take them out",
    ),
    (frozenset({""}), "give those that are images an ending, or take them out"),
)
RESIZE_REASONS: dict[Resize, str] = {
    "stretch": "each side was scaled on its own",
    "pad": "both sides were scaled alike, with black around",
    "crop": "both sides were scaled alike, and the edges cut off",
}


@dataclass(frozen=True, slots=True)
class _Member:
    """An image of the archive: its row, its zip entry, its header, and the SHA-256 of its bytes."""

    row: int
    entry: zipfile.ZipInfo
    info: ImageInfo
    sha256: bytes


def read_images(path: Path, context: Context) -> Loaded:
    """Read all images into one array of one size.

    Raises:
        DatasetError: bad_archive, bad_name, bad_image, mixed_layout, encrypted, too_large or empty_dataset.
    """
    opened = open_archive(path, context.limits, context.options.name_encoding, context.notes)
    with opened as (archive, entries):
        contents = sort_members(entries)
        _check_contents(contents)
        folders, table = read_labels(archive, contents, contents.images, context)
        members = folders.members
        deep_pixels = DeepPixels()
        images, corrupt = _check_all(archive, members, deep_pixels, context)
        drawing = _drawing(images, deep_pixels, context)
        inputs, rows, decodings = _decode_all(archive, images, drawing, corrupt, context)
    if drawing.pixel_range is None:
        _warn_of_dark(inputs, context.notes)
    _check_corrupt(corrupt, len(members))
    _warn_of_corrupt(corrupt, context.notes)
    columns = (*folders.columns(rows), *(table.at(rows) if table else ()))
    removals = tuple(sorted(corrupt, key=lambda removal: removal.row))
    return Loaded(
        format="zip",
        modality="image",
        rows_read=len(members),
        rows=rows,
        inputs=inputs,
        columns=columns,
        roles=folders.roles | (table.roles if table else {}),
        types=folders.types,
        corrupt=removals,
        unlabelled=folders.unlabelled,
        background=drawing.background,
        pixel_range=drawing.pixel_range,
        decodings=decodings,
    )


def _check_contents(contents: Contents) -> None:
    """Refuse an archive without images, or with pictures and other data that are not read."""
    others = [member for member in contents.besides(contents.images) if ending(member) in NOT_READ]
    others = others if contents.images else contents.besides([])
    if others:
        advice = next(
            (advice for endings, advice in ADVICE if all(ending(member) in endings for member in others)), None
        )
        message = f"{len(others)} files are no .jpg, .png or .webp images; {advice or OUT}: {name_some(others)}"
        errors = [RowError(("file", member.filename[:200]), "this is no image") for member in others[:MAX_ROW_ERRORS]]
        raise DatasetError(Code.BAD_IMAGE, message, errors)
    if not contents.images:
        raise DatasetError(Code.EMPTY_DATASET, "the archive holds no images; put some into it")


def _check_all(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], deep_pixels: DeepPixels, context: Context
) -> tuple[list[_Member], list[Removal]]:
    """Read the headers of all images; return those that can be decoded, and the removals of the others."""
    images: list[_Member] = []
    corrupt: list[Removal] = []
    huge: list[RowError] = []
    for row, entry in enumerate(members):
        try:
            data = read_member(archive, entry, context.limits.member_bytes)
            info = read_info(data, context.limits, deep_pixels)
            images.append(_Member(row, entry, info, hashlib.sha256(data).digest()))
        except CorruptImageError as error:
            corrupt.append(_corrupt(row, entry, error))
        except HugeImageError as error:
            huge.append(RowError(("file", entry.filename[:200]), f"{error}; make it smaller", row))
        if len(huge) >= MAX_ROW_ERRORS:
            break
        if row % 256 == 0:
            context.progress(0.2 * row / len(members), f"{row} images looked at")
    if huge:
        raise DatasetError(Code.BAD_IMAGE, f"{huge[0].loc[1]}: {huge[0].msg}", huge)
    _check_corrupt(corrupt, len(members))
    return images, corrupt


def _corrupt(row: int, entry: zipfile.ZipInfo, error: CorruptImageError) -> Removal:
    return Removal(row=row, reason="corrupt", detail=f"{entry.filename[:200]}: {error}")


def _check_corrupt(corrupt: list[Removal], total: int) -> None:
    """Refuse an archive of which most images cannot be read."""
    if 2 * len(corrupt) > total:
        message = f"{len(corrupt)} of {total} images cannot be read; is this archive whole?"
        errors = [RowError(("file",), removal.detail, removal.row) for removal in corrupt[:MAX_ROW_ERRORS]]
        raise DatasetError(Code.BAD_IMAGE, message, errors)


def _warn_of_corrupt(corrupt: list[Removal], notes: Notes) -> None:
    if corrupt:
        shown = "; ".join(removal.detail for removal in corrupt[:5]) + (" ..." if len(corrupt) > 5 else "")  # noqa: PLR2004
        message = f"{len(corrupt)} images cannot be opened and were left out: {shown}"
        rows, remedy = (removal.row for removal in corrupt), "save them anew as PNG or JPEG, or take them out"
        notes.warn(WarningCode.UNREADABLE_FILES, message, count=len(corrupt), rows=rows, remedy=remedy)


def _decode_all(
    archive: zipfile.ZipFile, images: list[_Member], drawing: Drawing, corrupt: list[Removal], context: Context
) -> tuple[Bytes, Ints, Decodings]:
    """Return the images that can be decoded, uint8 (N, H, W, C), their rows (N,), and their keys.

    Those that an earlier dataset holds decoded in the same way are taken from there.
    """
    shape = (len(images), drawing.height, drawing.width, drawing.channels)
    if np.prod(shape, dtype=np.float64) > context.limits.canonical_bytes:
        message = (
            f"{shape[0]} images of {shape[1]} x {shape[2]} are too large; give a smaller image.height and image.width"
        )
        raise DatasetError(Code.TOO_LARGE, message)
    out = np.lib.format.open_memmap(context.scratch / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    keys = decoding_keys([image.sha256 for image in images], drawing.decoding)
    decodings = Decodings.of(keys, context.earlier_images)
    results = _pixels(archive, images, drawing, decodings, context)
    decoded: list[int] = []
    for position, (image, result) in enumerate(zip(images, results, strict=True)):
        if isinstance(result, CorruptImageError):
            corrupt.append(_corrupt(image.row, image.entry, result))
        else:
            out[len(decoded)] = result
            decoded.append(position)
        if image.row % 256 == 0:
            context.progress(0.2 + 0.3 * len(decoded) / len(images), f"{len(decoded)} images decoded")
    positions = np.array(decoded, dtype=np.int64)
    rows = np.array([images[position].row for position in decoded], dtype=np.int64)
    return out[: len(decoded)], rows, decodings.at(positions)


def _pixels(
    archive: zipfile.ZipFile, images: list[_Member], drawing: Drawing, decodings: Decodings, context: Context
) -> Iterator[Bytes | CorruptImageError]:
    """Yield the pixels of each image, uint8 (H, W, C), or why it cannot be decoded."""
    most = max(1, min(_PART_IMAGES, _PART_BYTES // (drawing.height * drawing.width * drawing.channels)))
    places, earlier = decodings.places, decodings.earlier
    is_known = (places >= 0).tolist()
    new = [image for image, known in zip(images, is_known, strict=True) if not known]
    area = sum(image.info.height * image.info.width for image in new)
    processes = context.processes if area >= _MIN_PIXELS else Processes()
    work = partial(_decode_part, drawing=drawing, limits=context.limits)
    decoded = itertools.chain.from_iterable(processes.map(work, _parts(archive, new, most, context.limits)))
    known_pixels: Iterator[Bytes] = iter(())
    if earlier is not None:
        known_pixels = earlier.pixels(places[places >= 0], most)
        taken = f"{len(images) - len(new)} of {len(images)} images were taken over from {earlier.id}"
        context.notes.notice(f"{taken}, which holds the same files decoded in the same way")
    for known in is_known:
        yield next(known_pixels if known else decoded)


def _parts(archive: zipfile.ZipFile, images: list[_Member], most: int, limits: Limits) -> Iterator[list[bytes]]:
    """Yield the files of the images in order, at most so many at a time, and few enough for their bytes to fit."""
    part: list[bytes] = []
    for image in images:
        part.append(read_member(archive, image.entry, limits.member_bytes))
        if len(part) == most or sum(map(len, part)) >= _PART_BYTES:
            yield part
            part = []
    if part:
        yield part


def _decode_part(files: list[bytes], drawing: Drawing, limits: Limits) -> list[Bytes | CorruptImageError]:
    """Decode some images, uint8 (H, W, C) each; in place of one that cannot be decoded stands why."""
    results: list[Bytes | CorruptImageError] = []
    for data in files:
        try:
            results.append(decode(data, drawing, limits))
        except CorruptImageError as error:
            results.append(CorruptImageError(*error.args))
    return results


def _warn_of_dark(inputs: Bytes, notes: Notes) -> None:
    brightest = max((int(inputs[rows].max()) for rows in row_chunks(inputs)), default=0)
    warn_of_dark(
        brightest, len(inputs), "save them with pixels from 0 to 255, such as masks of 0 and 1 times 255", notes
    )


def _drawing(images: list[_Member], deep_pixels: DeepPixels, context: Context) -> Drawing:
    """Decide how all images become bytes."""
    infos = [image.info for image in images]
    options, notes = context.options.image or ImageOptions(), context.notes
    height, width, gray = _common_shape(infos, options, notes)
    inks = {image.row: image.info.ink for image in images if image.info.ink is not None}
    background = choose_background(inks, len(images), options.background, notes) if inks else None
    pixel_range = options.pixel_range
    if pixel_range is None and deep_pixels.images:
        pixel_range = deep_pixels.range(notes)
    elif pixel_range is not None and not deep_pixels.images:
        notes.notice("no image has 16 bits a pixel, so image.pixel_range changes nothing")
        pixel_range = None
    return Drawing(height, width, 1 if gray else 3, options.resize, background, pixel_range)


def _common_shape(infos: list[ImageInfo], options: ImageOptions, notes: Notes) -> tuple[int, int, bool]:
    """Return the height and width of all images, and whether they are gray."""
    _notice_kinds(infos, notes)
    gray = options.mode == "gray"
    if options.mode is None:
        gray = all(info.gray for info in infos)
        reason = "every image is gray" if gray else "at least one image has colours"
        notes.decide("image.mode", "gray" if gray else "rgb", reason)
    height, width = _common_size(infos, options, notes)
    others = sum((info.height, info.width) != (height, width) for info in infos)
    if others:
        why = f"{others} of {len(infos)} images have another size: {RESIZE_REASONS[options.resize]}"
        notes.decide("image.resize", options.resize, why)
    return height, width, gray


def _common_size(infos: list[ImageInfo], options: ImageOptions, notes: Notes) -> tuple[int, int]:
    if options.height is not None and options.width is not None:
        return options.height, options.width
    sizes = {(info.height, info.width) for info in infos}
    if len(sizes) == 1:
        return sizes.pop()
    height = min(MAX_MEDIAN_SIDE, int(statistics.median(info.height for info in infos)))
    width = min(MAX_MEDIAN_SIDE, int(statistics.median(info.width for info in infos)))
    why = f"images have {len(sizes)} sizes; all were resized to the median, at most {MAX_MEDIAN_SIDE}"
    notes.decide("image", f"{height} x {width}", why)
    return height, width


def _notice_kinds(infos: list[ImageInfo], notes: Notes) -> None:
    animated = sum(info.animated for info in infos)
    deep = sum(info.deep for info in infos)
    if animated:
        notes.notice(f"{animated} images have several frames; the first was taken")
    brightest = [info.brightest for info in infos if info.brightest is not None]
    if brightest:
        notes.notice(f"{len(brightest)} images have 16 bits a colour; the upper 8 were taken")
    if brightest and max(brightest) <= MAX_DARK:
        message = f"{len(brightest)} images have 16 bits a colour and use few of them: read by the upper 8, no colour "
        message += f"is above {max(brightest)} of 255"
        remedy = "save them with 8 bits a colour, all scaled alike to 0 .. 255"
        notes.warn(WarningCode.FEW_LEVELS, message, count=len(brightest), remedy=remedy)
    if deep:
        notes.notice(f"{deep} images have 16 bits a pixel and were scaled to 8")
