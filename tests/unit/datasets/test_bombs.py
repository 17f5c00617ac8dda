"""Small files that want to become large: refused, in a process whose memory is bounded."""

import io
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code, DatasetError
from app.datasets.limits import Limits
from app.datasets.readers.archive import open_archive

from .conftest import npy, picture, zipped

MIB = 1 << 20
CHILD = """
import resource, sys, tempfile
from pathlib import Path
from app.datasets.errors import DatasetError
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out = Path(tempfile.mkdtemp(dir=sys.argv[2]))
try:
    prepare(Path(sys.argv[1]), "bomb", PrepareOptions(), out, Limits(), lambda fraction, message: None)
    print("prepared")
except DatasetError as error:
    print(error.code)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def npz_bomb() -> bytes:
    """64 MiB of zeros that pack a thousandfold."""
    return zipped({"x.npy": npy(np.zeros((65536, 32, 32), np.uint8))}, zipfile.ZIP_DEFLATED)


def npz_lie() -> bytes:
    """A member that declares 1 KiB and holds 64 MiB."""
    data = bytearray(npz_bomb())
    directory = data.index(b"PK\x01\x02")
    for at in (22, directory + 24):
        data[at : at + 4] = (1024).to_bytes(4, "little")
    return bytes(data)


def npy_bomb() -> bytes:
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2)}\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 64


def picture_bomb() -> bytes:
    """A JPEG that says it has 60,000 times 60,000 pixels."""
    image = bytearray(picture(1, "L", kind="JPEG"))
    frame = image.index(b"\xff\xc0")
    image[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    return zipped({"1.jpg": bytes(image)})


def parquet_rows() -> bytes:
    """12.5 million equal rows in a few kilobytes."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, pa.schema([("a", pa.int8())])) as writer:
        writer.write_table(pa.table({"a": np.zeros(12_500_000, np.int8)}))
    return sink.getvalue()


def parquet_text() -> bytes:
    """One text of 512 KiB, 20,000 times."""
    text = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), pa.array(["x" * (512 << 10)]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"s": text, "i": np.arange(20_000)}), sink)
    return sink.getvalue()


def parquet_metadata() -> bytes:
    """A key with 32 MiB of value in the footer."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": np.arange(50)}).replace_schema_metadata({"x": "y" * (32 * MIB)}), sink)
    return sink.getvalue()


def parquet_groups() -> bytes:
    """5,000 groups of one row each."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": np.arange(5000) * 0.5}), sink, row_group_size=1)
    return sink.getvalue()


def picture_words() -> bytes:
    """A picture whose comment, or colour profile, unpacks to 200 MiB."""
    words = b"c\0\0" + zlib.compress(bytes(200 * MIB))
    return zipped({f"{kind}.png": _with_chunk(kind.encode(), words) for kind in ("zTXt", "iCCP")})


def _with_chunk(kind: bytes, data: bytes) -> bytes:
    """A picture with one more chunk behind its header."""
    whole, header = picture(1), 33
    chunk = len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return whole[:header] + chunk + whole[header:]


def json_line() -> bytes:
    return b'{"a": 1}\n{"a": "' + b"x" * (64 * MIB) + b'"}\n'


def json_text() -> bytes:
    """One text of 10 MiB among short ones."""
    return b'{"text": "a few words"}\n{"text": "' + b"x " * (5 * MIB) + b'"}\n'


def csv_line() -> bytes:
    return b"a,b\n" + b"1" * (64 * MIB)


def csv_field() -> bytes:
    return b'a,b\n1,"' + b"x\n" * (32 * MIB)


def directory_bomb() -> bytes:
    """300,000 members, in a directory of 14 MB."""
    entry = b"PK\x01\x02" + b"\x14\0" * 2 + b"\0" * 20 + (1).to_bytes(2, "little") + b"\0" * 16 + b"a"
    count = 300_000
    end = b"PK\x05\x06" + b"\0" * 4 + b"\xff\xff" * 2 + (len(entry) * count).to_bytes(4, "little") + b"\0" * 6
    return b"PK\x03\x04" + entry * count + end


def test_a_giant_directory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, size = tmp_path / "z.zip", 65 * MIB
    with path.open("wb") as file:
        file.seek(size)
        file.write(b"PK\x05\x06" + bytes(8) + size.to_bytes(4, "little") + bytes(6))
    monkeypatch.setattr(zipfile, "ZipFile", None)  # opening it would fail differently
    with pytest.raises(DatasetError, match="directory has 68157440 bytes") as caught, open_archive(path, Limits()):
        pass
    assert caught.value.code == Code.TOO_LARGE


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (npz_bomb, "too_large"),
        (npz_lie, "bad_archive"),
        (npy_bomb, "bad_array"),
        (picture_bomb, "bad_image"),
        (parquet_rows, "too_large"),
        (parquet_text, "too_large"),
        (parquet_metadata, "bad_parquet"),
        (parquet_groups, "prepared"),
        (picture_words, "bad_image"),
        (json_line, "too_large"),
        (json_text, "too_large"),
        (csv_line, "too_large"),
        (csv_field, "bad_csv"),
        (directory_bomb, "too_large"),
    ],
)
def test_bombs(make: Callable[[], bytes], code: str, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(make())
    command = [sys.executable, "-W", "error", "-c", CHILD, str(bomb), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    answer, grown = done.stdout.split()
    assert answer == code
    assert int(grown) < 256
