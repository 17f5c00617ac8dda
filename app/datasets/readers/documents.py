"""Reads zips of .txt files, a row each: a folder for each class, or flat and unlabelled, as for images."""

import zipfile
from contextlib import closing
from pathlib import Path

from app.datasets.context import Context
from app.datasets.errors import Code
from app.datasets.frames import Loaded
from app.datasets.readers.archive import archive_error, open_archive, read_member
from app.datasets.readers.collectors import CollectedTexts
from app.datasets.readers.contents import sort_members
from app.datasets.readers.label_tables import read_labels


def read_documents(path: Path, context: Context) -> Loaded:
    """Read each .txt file as one row; rows are numbered by the sorted names.

    Raises:
        DatasetError: bad_archive, bad_name, encoding, bad_text, mixed_layout, encrypted, too_large or empty_dataset.
    """
    opened = open_archive(path, context.limits, context.options.name_encoding, context.notes)
    with opened as (archive, members), closing(CollectedTexts(context)) as rows:
        contents = sort_members(members)
        folders, table = read_labels(archive, contents, contents.texts, context)
        for member in folders.members:
            rows.add(_text(archive, member, context))
        texts, kept = rows.finish()
    return Loaded(
        format="zip",
        modality="text",
        rows_read=len(folders.members),
        rows=kept.positions,
        inputs=texts,
        columns=(*folders.columns(kept.positions), *(table.at(kept.positions) if table else ())),
        roles=folders.roles | (table.roles if table else {}),
        types=folders.types,
        corrupt=kept.empty,
        unlabelled=folders.unlabelled,
    )


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo, context: Context) -> str:
    name = member.filename
    try:
        text = read_member(archive, member, context.limits.member_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise archive_error(
            Code.ENCODING, f"{name!r} is not UTF-8 text; save it in the encoding UTF-8", name
        ) from error
    if len(text) > context.limits.field_chars:
        max_chars = context.limits.field_chars
        raise archive_error(
            Code.TOO_LARGE, f"{name!r} has {len(text)} characters; at most {max_chars} are taken; cut it", name
        )
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
