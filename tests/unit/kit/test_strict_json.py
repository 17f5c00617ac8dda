import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.strict_json import MAX_DEPTH, StrictJsonError, loads

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)


@given(VALUES, st.booleans())
def test_honest_json_comes_through(value: Any, escaped: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=200))
def test_nothing_but_its_own_error_escapes(body: bytes) -> None:
    with suppress(StrictJsonError):
        assert json.dumps(loads(body)).encode("utf-8")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'"\xff"', "not UTF-8"),
        (b"1" * 5000, "too many digits"),
        (b"", "not JSON"),
        (b"\xef\xbb\xbf1", "not JSON: Unexpected UTF-8 BOM"),
    ],
)
def test_what_python_would_let_through_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(StrictJsonError, match=sentence):
        loads(body)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_depth_is_counted_outside_strings() -> None:
    loads(nested(MAX_DEPTH))
    for body in (nested(MAX_DEPTH + 1), b'{"a":' * 100 + b"1" + b"}" * 100, b'["\\"", ' + nested(MAX_DEPTH) + b"]"):
        with pytest.raises(StrictJsonError, match="deeper"):
            loads(body)
    brackets = '"' + "[{" * 500 + '\\"' + "[" * 500 + '"'
    assert loads(f"[{brackets}, {brackets}]".encode())
    assert loads(b"[" + b"[]," * 500 + b"[]]")


HOSTILE = {
    "escaped quotes": b"[" * 65 + b'"' + b'\\"' * 500_000,
    "quotes": b"[" * 65 + b'"' * 1_000_001,
    "backslashes": b"[" * 65 + b'"' + b"\\" * 1_000_001,
    "brackets": b"[" + b"[]," * 300_000 + b"[]]",
    "keys": b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b',"99999":0}',
    "open": b"{" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_megabyte_takes_long(name: str) -> None:
    """A quadratic look at any of these takes minutes."""
    started = time.process_time()
    with suppress(StrictJsonError):
        loads(HOSTILE[name])
    assert time.process_time() - started < 3
