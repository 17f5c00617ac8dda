"""Damaged and invented files: whatever comes, the answer is a dataset or a DatasetError, never anything else."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.errors import DatasetError
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import prepare

from .conftest import npy, npz, picture, zipped

LIMITS = Limits(rows=5000, cells=100_000, unpacked_bytes=1 << 24, canonical_bytes=1 << 24, pixels=10_000, members=200)
X = np.random.default_rng(5).integers(0, 256, (12, 3, 3), dtype=np.uint8)


def attempt(content: bytes, **wishes: Any) -> str:
    """Return "prepared", or the code of the refusal; every refusal says something."""
    answer = prepared_or_refused(content, PrepareOptions.model_validate(wishes))
    assert answer != "silent"
    return answer


def prepared_or_refused(content: bytes, options: PrepareOptions) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.write_bytes(content)
        out.mkdir()
        try:
            done = prepare(source, "x", options, out, LIMITS, lambda _fraction, _message: None)
        except DatasetError as error:
            return error.code if error.errors and error.message else "silent"
        assert done.report.rows.kept == sum(done.spec.rows.values()) > 0
        assert done.report.rows.read == done.report.rows.kept + sum(done.report.rows.removed.values())
        return "prepared"


def parquet() -> bytes:
    sink = io.BytesIO()
    words = ["a", "b", None, "c"] * 5
    dates = pa.array(range(18000, 18020), pa.date32())
    table = pa.table({"i": range(20), "f": np.linspace(0, 1, 20), "s": words, "d": dates, "label": ["x", "y"] * 10})
    pq.write_table(table, sink, row_group_size=8)
    return sink.getvalue()


VALID: dict[str, Callable[[], bytes]] = {
    "jsonl": lambda: b"".join(
        b'{"a": %d, "d": "2020-01-%02d", "label": "%c"}\n' % (i, i, 97 + i % 2) for i in range(9)
    ),
    "texts": lambda: b"".join(b'{"text": "%d of the texts", "label": "%c"}\n' % (i, 97 + i % 2) for i in range(30)),
    "series": lambda: b"".join(b'{"s": [[%d, null], [2.5, 1e3]], "label": %d}\n' % (i, i % 2) for i in range(9)),
    "lists": lambda: b"[1, 2.5, null]\n[3]\n\n[4, 5]\n",
    "documents": lambda: zipped({f"{'ab'[k % 2]}/{k}.txt": f"text {k}".encode() for k in range(6)}),
    "csv": lambda: b'a;b;label\n1;x;p\n2,5;"y;""";q\n;z;p\n',
    "npy": lambda: npy(X),
    "npz": lambda: npz(x=X.astype(np.float32) / 255, y=np.array(["u", "v", "w"] * 4), split=np.arange(12) % 3),
    "parquet": parquet,
    "png": lambda: zipped({f"{'ab'[k % 2]}/{k}.png": picture(k) for k in range(6)}),
    "jpeg": lambda: zipped({f"{k}.jpg": picture(k, kind="JPEG") for k in range(4)}),
    "webp": lambda: zipped({f"{k}.webp": picture(k, kind="WEBP") for k in range(4)}),
}


def test_the_seeds_are_valid() -> None:
    assert {name: attempt(seed()) for name, seed in VALID.items()} == dict.fromkeys(VALID, "prepared")


@st.composite
def damage(draw: st.DrawFn, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["set", "cut", "insert", "remove", "copy"])):
            case "set":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "remove":
                del data[at : at + draw(st.integers(1, 16))]
            case "copy":
                data[at:at] = data[: draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("name", VALID)
def test_damaged_files(name: str) -> None:
    seed = VALID[name]()

    @given(content=damage(seed), impute=st.booleans())
    def run(content: bytes, *, impute: bool) -> None:
        attempt(content, missing="impute" if impute else "reject")

    run()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_damaged_pictures_in_a_whole_archive(name: str) -> None:
    kind = name.upper()

    @given(content=damage(picture(1, kind=kind)))
    def run(content: bytes) -> None:
        members = {f"{k}.{name}": picture(k, kind=kind) for k in range(3)}
        assert attempt(zipped(members | {f"bad.{name}": content})) in {"prepared", "bad_image"}

    run()


@given(
    head=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"PAR1", b"a,b\n", b"\xff\xfe"]),
    body=st.binary(max_size=300),
    tail=st.sampled_from([b"", b"PAR1", b"PK\x05\x06" + b"\0" * 18]),
)
def test_random_bytes(head: bytes, body: bytes, tail: bytes) -> None:
    attempt(head + body + tail)


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0"\r\n,;\t|'), max_size=8),
    st.sampled_from(["1", "2.5", "", "NaN", "1e999", "-0", "1_0", "0x1f", "\u0661", "1e5", "inf", " 3 ", "true"]),
)


@given(table=st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(CELLS, min_size=d, max_size=d), max_size=30)))
def test_random_tables(table: list[list[str]]) -> None:
    width = len(table[0]) if table else 1
    lines = [",".join(f"column{j}" for j in range(width)), *(",".join(row) for row in table)]
    attempt("\n".join(lines).encode())


@given(
    descr=st.sampled_from(
        ["<f8", ">f4", "|u1", "|b1", "<f2", "<i8", "<u8", "|S2", "|O", "<U2", "<M8[s]", "|V8", "<c8"]
    ),
    shape=st.lists(st.integers(-1, 5), max_size=5).map(tuple),
    fortran=st.booleans(),
    data=st.binary(max_size=400),
)
def test_random_arrays(descr: str, shape: tuple[int, ...], data: bytes, *, fortran: bool) -> None:
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}\n".encode()
    exact = (
        data[: int(np.prod(shape, dtype=np.int64)) * np.dtype(descr).itemsize] if min(shape, default=0) >= 0 else data
    )
    attempt(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + exact)


TEXTS = st.text(max_size=300) | st.lists(st.sampled_from("a \n\r\0\ufeff\u2028"), max_size=99).map("".join)
TEXT_WISHES = st.fixed_dictionaries(
    {
        "rows": st.sampled_from(["auto", "lines", "paragraphs", "windows"]),
        "window": st.integers(2, 40),
    }
)


@given(
    text=st.text(max_size=300) | st.lists(st.sampled_from("a \n\r\0\ufeff\u2028"), max_size=99).map("".join),
    wish=TEXT_WISHES,
)
def test_random_text(text: str, wish: dict[str, Any]) -> None:
    content = text.encode("utf-8", "surrogatepass")
    answer = attempt(content, text=wish, splits={"train": 1.0})
    assert answer in {
        "prepared",
        "bad_text",
        "encoding",
        "empty_dataset",
        "unsupported_format",
        "bad_array",
        "bad_archive",
    }
    attempt(content, modality="text")


@given(content=st.binary(max_size=300), wish=TEXT_WISHES)
def test_random_bytes_as_text(content: bytes, wish: dict[str, Any]) -> None:
    attempt(content, text=wish)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["2020-01-01", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "s", ""]), inner, max_size=2),
    max_leaves=8,
)
ROWS = st.dictionaries(st.sampled_from(["a", "b", "label", "text", "s\u0301", "split", ""]), VALUES, max_size=4)
MODALITIES = st.sampled_from([None, "table", "text", "series"])


@given(rows=st.lists(ROWS, min_size=1, max_size=20), modality=MODALITIES, impute=st.booleans())
def test_random_json_rows(rows: list[Any], modality: str | None, *, impute: bool) -> None:
    content = "\n".join(map(json.dumps, rows)).encode()
    attempt(content, modality=modality, missing="impute" if impute else "reject")


NUMBERS = st.none() | st.integers(-5, 5) | st.floats(width=32)
SERIES = st.lists(NUMBERS, max_size=5) | st.lists(st.lists(NUMBERS, min_size=2, max_size=2), max_size=4)


@given(rows=st.lists(SERIES, min_size=1, max_size=20), impute=st.booleans())
def test_random_series(rows: list[Any], *, impute: bool) -> None:
    wrapped = [{"s": row, "label": index % 2} for index, row in enumerate(rows)]
    for content in (rows, wrapped):
        attempt("\n".join(map(json.dumps, content)).encode(), missing="impute" if impute else "reject")


@given(
    table=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=30),
    wish=st.sampled_from([None, {"id": "a"}, {"id": "a", "time": "b"}, {"id": "d"}]),
)
def test_random_tables_as_series(table: list[list[str]], wish: dict[str, str] | None) -> None:
    lines = ["a,b,c", *(",".join(row) for row in table)]
    attempt("\n".join(lines).encode(), modality="series", series=wish)


@given(
    dtype=st.sampled_from(["f4", "f8", "i2", "?", "u8", "U3"]),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    lengths=st.none() | st.lists(st.integers(-1, 5), max_size=4),
    seed=st.integers(0, 9),
)
def test_random_arrays_as_series(dtype: str, shape: list[int], lengths: list[int] | None, seed: int) -> None:
    x = (np.random.default_rng(seed).normal(size=shape) * 3).astype(dtype)
    arrays = {"x": x} if lengths is None else {"x": x, "lengths": np.array(lengths, int)}
    attempt(npz(**arrays), modality="series")
