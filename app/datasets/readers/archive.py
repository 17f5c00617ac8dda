"""Opens untrusted zip archives: counted before they are opened, bounded while they are read, never extracted."""

import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.limits import Limits
from app.datasets.options import NameEncoding
from app.datasets.readers.member_names import decode_names, raw_name
from app.datasets.report import Notes

END, END64_LOCATOR, END64, ENTRY = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06", b"PK\x01\x02"
CHUNK_BYTES = 1 << 20
LOCAL_HEADER_BYTES = 30  # without the name and the extra fields
MAX_DIRECTORY_BYTES = 64 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def archive_error(code: Code, message: str, member: str | None = None) -> DatasetError:
    """Return an error of an archive, or of one of its members."""
    loc = ("file",) if member is None else ("file", member)
    return DatasetError(code, message, [RowError(loc=loc, msg=message)])


@contextmanager
def open_archive(
    path: Path, limits: Limits, encoding: NameEncoding = "auto", notes: Notes | None = None
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open the archive `path` and yield it with its checked members, without folders, sorted by name.

    `encoding` is that of names which do not say theirs; what is guessed of it goes to `notes`.
    """
    with path.open("rb") as file:
        _count_members(file, limits)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error) as error:
            message = "the zip archive is damaged or cut short; pack and upload it again"
            raise archive_error(Code.BAD_ARCHIVE, message) from error
        with archive:
            decode_names(archive.infolist(), encoding, notes)
            yield archive, _check_members(archive, limits)


def _count_members(file: BinaryIO, limits: Limits) -> None:
    """Count the entries of the central directory, before zipfile makes an object of each."""
    offset, size = _directory(file)
    if size > MAX_DIRECTORY_BYTES:
        message = (
            f"the archive's directory has {size} bytes; at most {MAX_DIRECTORY_BYTES} are read; upload it in parts"
        )
        raise archive_error(Code.TOO_LARGE, message)
    file.seek(offset)
    data, start, count = file.read(size), 0, 0
    while data[start : start + 4] == ENTRY and start + 46 <= len(data):
        # 46 bytes, and a name, extra fields and a comment whose lengths they hold.
        start += 46 + sum(struct.unpack_from("<HHH", data, start + 28))
        count += 1
        if count > limits.members:
            message = f"the archive has more than {limits.members} members; upload it in parts"
            raise archive_error(Code.TOO_LARGE, message)
    file.seek(0)


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Return the offset and the size of the central directory, from the records at the end of the file."""
    total = file.seek(0, 2)
    file.seek(max(0, total - 65_557))
    tail = file.read()
    start = tail.rfind(END)
    if start < 0 or len(tail) < start + 22:
        raise archive_error(Code.BAD_ARCHIVE, "the zip archive is cut short: its directory is missing; upload it again")
    end = total - len(tail) + start
    size, _ = struct.unpack_from("<II", tail, start + 12)
    locator = tail[max(0, start - 20) : start]
    if locator[:4] == END64_LOCATOR:
        end -= 76  # the locator has 20 bytes and the record before it 56; zipfile reads it there, too
        file.seek(max(0, end))
        record = file.read(56)
        if record[:4] != END64 or struct.unpack_from("<Q", locator, 8)[0] != end:
            raise archive_error(Code.BAD_ARCHIVE, "the zip archive is damaged: its end records contradict each other")
        size = struct.unpack_from("<Q", record, 40)[0]
    if size > end:
        raise archive_error(Code.BAD_ARCHIVE, "the zip archive is damaged: its directory is larger than the file")
    return end - size, size


def _check_members(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    """Refuse unsafe members, and return the files among them, sorted by name."""
    infos = archive.infolist()
    repeated = [name for name, count in Counter(info.filename for info in infos).items() if count > 1]
    if repeated:
        raise archive_error(
            Code.BAD_ARCHIVE, f"the archive holds {repeated[0]!r} twice; names must differ", repeated[0]
        )
    for info in infos:
        _check_member(info)
    _check_sizes(infos, archive.start_dir, limits)
    _check_overlaps(infos, archive.start_dir)
    return sorted((info for info in infos if not info.is_dir()), key=lambda info: info.filename)


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if info.flag_bits & 0x1:
        raise archive_error(Code.ENCRYPTED, "the archive is encrypted; pack it without a password", name)
    if info.compress_type not in METHODS:
        raise archive_error(Code.BAD_ARCHIVE, f"{name!r} is packed by an unusual method; use plain zip (deflate)", name)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise archive_error(Code.BAD_NAME, f"{name!r} is a symbolic link; put the file itself into the archive", name)
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ":" in parts[0][1:2] or ".." in parts or "" in parts:
        raise archive_error(Code.BAD_NAME, f"{name!r} is no plain relative name; pack the folder again", name)


def _check_sizes(infos: list[zipfile.ZipInfo], data_bytes: int, limits: Limits) -> None:
    """Refuse what unpacks to too much; members cannot have more packed bytes together than lie before the directory."""
    unpacked = sum(info.file_size for info in infos)
    packed = min(data_bytes, sum(info.compress_size for info in infos))
    if unpacked > limits.unpacked_bytes:
        message = f"the archive unpacks to {unpacked} bytes; at most {limits.unpacked_bytes} are taken"
        raise archive_error(Code.TOO_LARGE, message)
    if unpacked > limits.ratio_free_bytes and unpacked > limits.ratio * max(packed, 1):
        message = f"the archive unpacks to more than {limits.ratio} times its size; use weaker packing"
        raise archive_error(Code.TOO_LARGE, message)


def _check_overlaps(infos: list[zipfile.ZipInfo], data_bytes: int) -> None:
    """Refuse members that share bytes: a small archive may unpack the same ones many times (Fifield, 2019)."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(info.header_offset for info in ordered[1:]), data_bytes]
    for info, next_start in zip(ordered, starts, strict=False):
        if info.header_offset + LOCAL_HEADER_BYTES + len(raw_name(info)) + info.compress_size > next_start:
            message = f"{info.filename!r} overlaps another member of the archive; pack and upload it again"
            raise archive_error(Code.BAD_ARCHIVE, message, info.filename)


def read_chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a member in chunks; more than it declares, or than `max_bytes`, is an error."""
    name, remaining = info.filename, min(max_bytes, info.file_size)
    try:
        with archive.open(info) as member:
            while chunk := member.read(CHUNK_BYTES):
                remaining -= len(chunk)
                if remaining < 0:
                    raise archive_error(Code.TOO_LARGE, f"{name!r} unpacks to more than it declares or may hold", name)
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        message = f"{name!r} is damaged in the archive; pack and upload it again"
        raise archive_error(Code.BAD_ARCHIVE, message, name) from error
    if remaining and max_bytes >= info.file_size:
        raise archive_error(Code.BAD_ARCHIVE, f"{name!r} is cut short in the archive; upload it again", name)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """Return the bytes of a member, of at most `max_bytes`."""
    if info.file_size > max_bytes:
        message = f"{info.filename!r} has {info.file_size} bytes; one file may have {max_bytes}"
        raise archive_error(Code.TOO_LARGE, message, info.filename)
    return b"".join(read_chunks(archive, info, max_bytes))
