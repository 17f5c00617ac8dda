"""Damaged and invented files: whatever comes, the answer is a dataset or a DatasetError, never anything else."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.errors import DatasetError
from app.datasets.options import Limits, PrepareOptions
from app.datasets.preparation import prepare

from .conftest import npy, npz, picture, zipped

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault of the readers
LIMITS = Limits(rows=5000, cells=100_000, unpacked_bytes=1 << 24, canonical_bytes=1 << 24, pixels=10_000, members=200)
X = np.random.default_rng(5).integers(0, 256, (12, 3, 3), dtype=np.uint8)


def attempt(content: bytes, *, impute: bool = False) -> str:
    """Return "prepared", or the code of the refusal; every refusal says something."""
    answer = prepared_or_refused(content, impute=impute)
    assert answer != "silent"
    return answer


def prepared_or_refused(content: bytes, *, impute: bool) -> str:
    options = PrepareOptions(missing="impute" if impute else "reject")
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
    table = pa.table({"i": range(20), "f": np.linspace(0, 1, 20), "s": words, "label": ["x", "y"] * 10})
    pq.write_table(table, sink, row_group_size=8)
    return sink.getvalue()


VALID: dict[str, Callable[[], bytes]] = {
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

    @settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
    @given(content=damage(seed), impute=st.booleans())
    def run(content: bytes, *, impute: bool) -> None:
        attempt(content, impute=impute)

    run()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_damaged_pictures_in_a_whole_archive(name: str) -> None:
    kind = name.upper()

    @settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
    @given(content=damage(picture(1, kind=kind)))
    def run(content: bytes) -> None:
        members = {f"{k}.{name}": picture(k, kind=kind) for k in range(3)}
        assert attempt(zipped(members | {f"bad.{name}": content})) in {"prepared", "bad_image"}

    run()


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
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


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(table=st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(CELLS, min_size=d, max_size=d), max_size=30)))
def test_random_tables(table: list[list[str]]) -> None:
    width = len(table[0]) if table else 1
    lines = [",".join(f"column{j}" for j in range(width)), *(",".join(row) for row in table)]
    attempt("\n".join(lines).encode())


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
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
