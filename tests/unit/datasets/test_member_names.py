"""Names in zips as systems write them: their encodings, backslashes, and members that share bytes."""

import io
import struct
import zipfile
import zlib

import pytest

from app.datasets.errors import Code
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser, picture, zipped

UNICODE_PATH = 0x7075


def with_folder(raw: bytes) -> bytes:
    """A zip of two classes, pears and the folder whose name has these bytes; no name says how it is encoded."""
    stand_in = b"#" * len(raw)
    members = {f"{stand_in.decode()}/{k}.png": picture(k) for k in range(4)}
    members |= {f"pears/{k}.png": picture(9 + k) for k in range(4)}
    return zipped(members).replace(stand_in, raw)


@pytest.mark.parametrize(
    ("raw", "expected", "encoding"),
    [
        ("Äpfel".encode(), "Äpfel", "utf-8"),
        ("яблоки".encode(), "яблоки", "utf-8"),
        ("りんご".encode(), "りんご", "utf-8"),
        ("Äpfel".encode("cp1252"), "Äpfel", "cp1252"),
        ("käse".encode("cp1252"), "käse", "cp1252"),
        ("Äpfel".encode("cp437"), "Äpfel", "cp437"),
        ("käse".encode("cp850"), "käse", "cp437"),
    ],
)
def test_names_without_a_declared_encoding(make: Preparer, raw: bytes, expected: str, encoding: str) -> None:
    done = make(with_folder(raw))
    assert set(done.spec.targets[0].classes) == {expected, "pears"}
    assert done.decision("name_encoding") == encoding
    guesses = [item for item in done.report.warnings if item.code == WarningCode.GUESSED_NAMES]
    assert len(guesses) == (encoding != "utf-8")
    assert all(expected in item.message and item.count == 4 for item in guesses)


@pytest.mark.parametrize("encoding", ["cp866", "cp1251"])
def test_the_encoding_of_names_can_be_given(make: Preparer, refused: Refuser, encoding: str) -> None:
    data = with_folder("яблоки".encode(encoding))
    assert "name_encoding" in str(make(data).warning(WarningCode.GUESSED_NAMES).remedy)
    done = make(data, name_encoding=encoding)
    assert set(done.spec.targets[0].classes) == {"яблоки", "pears"}
    assert WarningCode.GUESSED_NAMES not in [item.code for item in done.report.warnings]
    assert refused(Code.ENCODING, data, name_encoding="utf-8").errors[0].loc == ("name_encoding",)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("りんご", "cp932"),
        ("林檎の木", "cp932"),
        ("苹果", "cp936"),
        ("蘋果", "cp950"),
        ("사과", "cp949"),
        ("яблоки", "cp866"),
    ],
)
def test_names_in_other_scripts_warn_and_the_remedy_shows_how_each_encoding_reads_them(
    make: Preparer, name: str, encoding: str
) -> None:
    data = with_folder(name.encode(encoding))
    warning = make(data).warning(WarningCode.GUESSED_NAMES)
    assert f'name_encoding="{encoding}" reads {name!r}' in str(warning.remedy)
    assert "pack them again as UTF-8" in str(warning.remedy)
    done = make(data, name_encoding=encoding)
    assert set(done.spec.targets[0].classes) == {name, "pears"}
    assert WarningCode.GUESSED_NAMES not in [item.code for item in done.report.warnings]


@pytest.mark.parametrize(("intact", "expected"), [(True, "Äpfel"), (False, "APFEL")])
def test_the_unicode_path_field_is_honoured_where_its_checksum_fits(
    make: Preparer, expected: str, *, intact: bool
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(4):
            info, name = zipfile.ZipInfo(f"APFEL/{k}.png"), f"Äpfel/{k}.png".encode()
            field = struct.pack("<BI", 1, zlib.crc32(info.filename.encode()) ^ (not intact)) + name
            info.extra = struct.pack("<HH", UNICODE_PATH, len(field)) + field
            archive.writestr(info, picture(k))
            archive.writestr(f"pears/{k}.png", picture(9 + k))
    done = make(buffer.getvalue())
    assert set(done.spec.targets[0].classes) == {expected, "pears"}
    assert not [item for item in done.report.warnings if item.code == WarningCode.GUESSED_NAMES]


def test_backslashes_are_slashes(make: Preparer) -> None:
    members = {f"set\\{('cats', 'dogs')[k % 2]}\\{k}.png": picture(k) for k in range(6)}
    assert make(zipped(members | {"set\\cats\\": b""})).spec.targets[0].classes == ("cats", "dogs")


def test_steps_to_the_folder_itself_are_nothing(make: Preparer) -> None:
    members = {f"./{('cats', 'dogs')[k % 2]}/{k}.png": picture(k) for k in range(6)}
    assert make(zipped(members)).spec.targets[0].classes == ("cats", "dogs")


def test_names_that_become_equal_are_refused(refused: Refuser) -> None:
    assert "twice" in refused(Code.BAD_ARCHIVE, zipped({"a/1.png": picture(1), "a\\1.png": picture(2)})).message


def overlapping(members: int, unpacked: int) -> bytes:
    """A zip whose members share one packed piece, as David Fifield's bomb does: each quotes the next one's header."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packer.compress(bytes(unpacked)) + packer.flush()
    crc = zlib.crc32(bytes(unpacked))
    names = [f"{k:04}.png".encode() for k in range(members)]
    headers: list[bytes] = []
    body, sizes = kernel, (len(kernel), unpacked)
    entries: list[tuple[int, int, int]] = []
    for name in reversed(names):
        header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, *sizes, len(name), 0) + name
        quoted = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF)
        body = header + body
        entries.append((crc, *sizes))
        headers.append(header)
        crc, sizes = 0, (sizes[0] + len(quoted) + len(header), sizes[1] + len(header))
        body = quoted + body
    body = body[5:]
    directory = b""
    offset = 0
    for name, header, entry in zip(names, reversed(headers), reversed(entries), strict=True):
        directory += struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *entry, len(name), 0, 0, 0, 0, 0, offset
        )
        directory += name
        offset += len(header) + 5
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, members, members, len(directory), len(body), 0)
    return body + directory + end


@pytest.mark.parametrize(("unpacked", "code"), [(20_000, Code.BAD_ARCHIVE), (9 << 20, Code.TOO_LARGE)])
def test_members_that_share_bytes_are_refused(refused: Refuser, unpacked: int, code: Code) -> None:
    data = overlapping(20, unpacked)
    assert len(data) < 20_000
    refused(code, data)
