"""Image files in a column of Parquet, as Hugging Face's datasets write them."""

import zipfile
from dataclasses import replace
from typing import Any

from app.datasets.columns.roles import assign_roles
from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Loaded
from app.datasets.readers.collectors import take_rows
from app.datasets.readers.images import read_images
from app.datasets.readers.text_columns import labels_beside
from app.datasets.report import Notes

SIGNATURES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
MAX_SIGNATURE = 4


def with_pictures(loaded: Loaded, pictures: dict[str, list[Any]], others: list[str], context: Context) -> Loaded:
    """Return the table with its images as inputs; `pictures` are Arrow arrays of files, {column: arrays}.

    `others` are columns of lists of numbers, which are left out.

    Raises:
        DatasetError: unsupported_column: no images, or two columns of them; or what is wrong with the images.
    """
    (name, chunks), *more = pictures.items()
    if more:
        message = f"columns {name} and {more[0][0]} both hold bytes, and a row is one image; ignore all but one"
        raise DatasetError(Code.UNSUPPORTED_COLUMN, message, [RowError((more[0][0],), message)])
    archive = context.scratch / "pictures.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for row, data in enumerate(value.as_py() for chunk in chunks for value in chunk):
            file.writestr(f"{row:09}{_ending(name, data, row)}", data or b"")
    images = read_images(archive, context)
    columns = tuple(take_rows(column, images.rows) for column in loaded.columns)
    roles = assign_roles(replace(loaded, columns=columns, input_names=(name,)), context.options, Notes())
    free = [column for column in columns if roles[column.name] == "auto"]
    target = None if "target" in roles.values() else labels_beside("the images", free, context.notes)
    left_out = [*(column.name for column in free if column.name != target), *others]
    if left_out:
        context.notes.notice(f"columns left out, as the rows are images: {', '.join(left_out[:20])}")
    return replace(
        loaded,
        modality="image",
        rows=images.rows,
        inputs=images.inputs,
        columns=columns,
        roles={} if target is None else {target: "target"},
        corrupt=images.corrupt,
        value_scale=images.value_scale,
        background=images.background,
        pixel_range=images.pixel_range,
        input_names=(name,),
        decodings=images.decodings,
    )


def _ending(name: str, data: bytes | None, row: int) -> str:
    """Return the ending of an image file; the first one must be an image, later ones may be corrupt."""
    ending = SIGNATURES.get((data or b"")[:MAX_SIGNATURE]) or SIGNATURES.get((data or b"")[:3])
    if ending is None and row == 0:
        what = "no file, only a path: write the images into the file" if data is None else "no JPEG, PNG or WebP image"
        remedy = f'or leave it out with columns={{"{name}": "ignored"}}'
        message = f"column {name} holds bytes, and its first row holds {what}; {remedy}"
        raise DatasetError(Code.UNSUPPORTED_COLUMN, message, [RowError((name,), message, row)])
    return ending or ".png"
