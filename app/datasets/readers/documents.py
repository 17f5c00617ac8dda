"""Zips of .txt files: a row each, a folder for each class, or flat and unlabelled; as for images."""

import zipfile
from contextlib import closing
from pathlib import Path

from app.datasets.context import Context
from app.datasets.errors import Code
from app.datasets.frames import Loaded
from app.datasets.readers.archive import open_archive, read_member, refuse
from app.datasets.readers.collectors import TextRows
from app.datasets.readers.folders import ROLES, TYPES, ends_in, folder_columns, is_junk, read_folders, without_junk

ENDINGS = frozenset({".txt"})


def holds_documents(infos: list[zipfile.ZipInfo]) -> bool:
    """Whether every file of an archive, but for junk, is a text."""
    rest = [info for info in infos if not is_junk(info)]
    return bool(rest) and all(ends_in(info, ENDINGS) for info in rest)


def read_documents(path: Path, context: Context) -> Loaded:
    """Read each .txt file as one row; rows are numbered by the sorted names.

    Raises:
        DatasetError: bad_archive, bad_name, encoding, bad_text, mixed_layout, encrypted, too_large or empty_dataset.
    """
    with open_archive(path, context.limits) as (archive, infos), closing(TextRows(context)) as rows:
        members = without_junk(infos, context.notes)
        said = read_folders([info.filename for info in members], context)
        for info in members:
            rows.add(_text(archive, info, context))
        texts, kept = rows.finish()
    return Loaded(
        format="zip",
        modality="text",
        read=len(members),
        rows=kept.places,
        inputs=texts,
        columns=folder_columns(said, kept.places),
        roles=dict(ROLES),
        types=dict(TYPES),
        corrupt=kept.empty,
    )


def _text(archive: zipfile.ZipFile, info: zipfile.ZipInfo, context: Context) -> str:
    name = info.filename
    try:
        text = read_member(archive, info, context.limits.member_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(Code.ENCODING, f"{name!r} is not UTF-8 text; save it in the encoding UTF-8", name) from error
    if len(text) > context.limits.field_chars:
        most = context.limits.field_chars
        raise refuse(Code.TOO_LARGE, f"{name!r} has {len(text)} characters; at most {most} are taken; cut it", name)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
