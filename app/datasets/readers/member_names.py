"""Names of the members of a zip: decoded as the archive says, else by what their bytes show; with slashes.

A name that says no encoding was written by whatever its system uses: UTF-8 can be known, other encodings only guessed.
"""

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from typing import get_args

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.options import NameEncoding
from app.datasets.report import Notes
from app.ml.spec import WarningCode

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075
GUESSES = ("cp437", "cp1252")
MAX_SHOWN = 5


def decode_names(infos: Sequence[zipfile.ZipInfo], encoding: NameEncoding, notes: Notes | None = None) -> None:
    """Set the file names of all members: decoded, and with slashes where a system wrote backslashes.

    Names that do not say how they are encoded are read as `encoding`; auto: as UTF-8 where they are valid UTF-8, else
    as the first of cp437 and cp1252 in which all of them are words of Latin letters, else as cp437, with a warning.

    Raises:
        DatasetError: encoding: the names are none in the `encoding`.
    """
    raw_names = {info: raw for info in infos if (raw := _undeclared(info)) is not None}
    valid_utf8 = {info for info, raw in raw_names.items() if encoding == "auto" and _is_utf8(raw)}
    others = [raw for info, raw in raw_names.items() if info not in valid_utf8]
    guess = _guess(others) if encoding == "auto" else encoding
    for info in infos:
        name = _declared(info)
        if info in raw_names:
            name = _decoded(raw_names[info], "utf-8" if info in valid_utf8 else guess)
        info.filename = _with_slashes(name)
    if notes is not None and encoding == "auto":
        _note(list(valid_utf8), [info for info in raw_names if info not in valid_utf8], guess, notes)


def raw_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member's name, which zipfile has decoded."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_FLAG else "cp437")


def _undeclared(info: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name that is not ASCII and does not say how it is encoded; else None."""
    if info.flag_bits & UTF8_FLAG or _unicode_path(info) is not None:
        return None
    raw = raw_name(info)
    return None if raw.isascii() else raw


def _declared(info: zipfile.ZipInfo) -> str:
    path = None if info.flag_bits & UTF8_FLAG else _unicode_path(info)
    return info.orig_filename if path is None else path


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """Return the name in the Info-ZIP Unicode path field, unless the other name was changed since (its CRC differs)."""
    extra = info.extra
    while len(extra) >= 4:  # noqa: PLR2004 - the id and the size of a field
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and len(field) > 5 and field[0] == 1:  # noqa: PLR2004 - version and CRC-32
            intact = struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw_name(info))
            return field[5:].decode() if intact and _is_utf8(field[5:]) else None
    return None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guess(names: Sequence[bytes]) -> str:
    """Return the encoding in which all names are made of Latin letters, so that no "Σ" stands in a Latin word."""
    for encoding in GUESSES:
        try:
            characters = {char for name in names for char in name.decode(encoding) if not char.isascii()}
        except UnicodeDecodeError:
            continue
        if all(unicodedata.name(char, "").startswith("LATIN ") for char in characters):
            return encoding
    return GUESSES[0]


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"the name {raw[:60]!r} in the archive is not {encoding}; correct name_encoding"
        raise DatasetError(Code.ENCODING, message, [RowError(("name_encoding",), message)]) from error


def _with_slashes(name: str) -> str:
    """Return the name with slashes, without steps to the folder itself ("./"), up to its first NUL."""
    name = name.partition("\0")[0].replace("\\", "/")
    return "/".join(part for part in name.split("/") if part != ".")


def _note(utf8: list[zipfile.ZipInfo], guessed: list[zipfile.ZipInfo], guess: str, notes: Notes) -> None:
    if utf8:
        why = f"{len(utf8)} names do not say how they are encoded, and are valid UTF-8: {_shown(utf8)}"
        notes.decide("name_encoding", "utf-8", why, 'name_encoding="cp1252"')
    if guessed:
        readings = _readings([raw_name(info) for info in guessed], guess)
        option = f'name_encoding="{next(iter(readings), "cp1252" if guess == "cp437" else "cp437")}"'
        shown = f"{len(guessed)} names in the archive do not say how they are encoded, and are not UTF-8: "
        notes.decide("name_encoding", guess, f"{shown}{_shown(guessed)}", option)
        others = "; ".join(f'name_encoding="{encoding}" reads {name!r}' for encoding, name in readings.items())
        remedy = f"where that is wrong, say name_encoding: {others or option}; or pack them again as UTF-8"
        message = f"{shown}they were read as {guess}: {_shown(guessed)}"
        notes.warn(WarningCode.GUESSED_NAMES, message, count=len(guessed), remedy=remedy)


def _readings(names: Sequence[bytes], guess: str) -> dict[str, str]:
    """Return the encodings in which all names consist of letters, each with the first folder or file as it reads it."""
    readings = {}
    for encoding in get_args(NameEncoding):
        if encoding in {"auto", "utf-8", guess}:
            continue
        try:
            decoded = [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        others = {char for name in decoded for char in name if not char.isascii()}
        if all(unicodedata.category(char) in {"Lu", "Ll", "Lo", "Mn"} for char in others):
            readings[encoding] = next(part for part in decoded[0].replace("\\", "/").split("/") if not part.isascii())[
                :50
            ]
    return readings


def _shown(infos: Sequence[zipfile.ZipInfo]) -> str:
    """Return the first few folders and files whose names are not ASCII."""
    parts = dict.fromkeys(part for info in infos for part in info.filename.split("/") if not part.isascii())
    return ", ".join(repr(part[:100]) for part in list(parts)[:MAX_SHOWN]) + (" ..." if len(parts) > MAX_SHOWN else "")
