"""What the short way reads of a JSON body is what the strict reading reads; all else it leaves to that."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit import strict_json
from app.predictions.bodies import plain_json
from app.predictions.schemas import MAX_INPUTS

CELLS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))
NUMBERS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
ROWS = st.one_of(
    st.text(),
    st.lists(CELLS, max_size=4),
    st.dictionaries(st.text(max_size=3), CELLS, max_size=4),
    st.lists(st.one_of(CELLS, st.lists(CELLS, max_size=2)), max_size=3),
    CELLS,
)
DOCUMENTS = st.one_of(
    st.lists(ROWS, max_size=4),
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=4),
    st.lists(st.lists(st.lists(NUMBERS, min_size=1, max_size=2), min_size=2, max_size=2), min_size=1, max_size=3),
).map(lambda inputs: {"inputs": inputs})


@given(DOCUMENTS, st.booleans())
def test_what_is_read_is_what_the_strict_reading_reads(document: Any, escaped: bool) -> None:
    body = json.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")
    inputs = plain_json.read(body)
    if inputs is None:
        return
    expected = strict_json.loads(body)["inputs"]
    if isinstance(inputs, np.ndarray):
        assert inputs.shape == np.array(expected, dtype=object).shape
        assert inputs.tolist() == expected
    else:
        assert repr(inputs) == repr(expected)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'{"inputs": [[1, 2.5], [3, -4e3]]}', (2, 2)),
        (b' {"inputs":[[[0,255],[1,2]]]} ', (1, 2, 2)),
        (b'{"inputs": [[[[1, 2, 3]]]]}', (1, 1, 1, 3)),
    ],
)
def test_numbers_become_an_array(body: bytes, shape: tuple[int, ...]) -> None:
    inputs = plain_json.read(body)
    assert isinstance(inputs, np.ndarray)
    assert inputs.shape == shape
    assert inputs.tolist() == json.loads(body)["inputs"]


@pytest.mark.parametrize(
    "inputs",
    [
        ["a text", "é"],
        [[1, None]],
        [["a", True]],
        [{"a": 1, "b": "x"}],
        [[1, 2], [3]],
        [[1, 2], [3], [4, 5, 6]],
        [[2**53 + 1]],
        [[1, [2]], [3, 4]],
        [[[1], [2]], [[3]]],
    ],
)
def test_texts_and_plain_rows_become_a_list(inputs: list[Any]) -> None:
    assert repr(plain_json.read(json.dumps({"inputs": inputs}).encode())) == repr(inputs)


UNUSUAL = [
    b'{"inputs":[[1,[[2]]],[3,4]]}',
    b'{"inputs":[[[[1]],[2]],[[3]]]}',
    b'{"inputs":[{"a":1,"a":2}]}',
    b'{"inputs":["x"],"inputs":["y"]}',
    b'{"inputs":["x"],"unknown":"refuse"}',
    b'{"inputs":[1,2]}',
    b'{"inputs":[]}',
    b'{"inputs":{"a":1}}',
    b'{"inputs":"a"}',
    b'["a"]',
    b'{"inputs":["a"]} x',
    b'{"inputs":["a\\u0000"]}',
    b'{"inputs":["\\ud800"]}',
    b'{"inputs":["\xed\xa0\x80"]}',
    b'\xef\xbb\xbf{"inputs":["a"]}',
    b'{"inputs":[[NaN]]}',
    b'{"inputs":[[1e400]]}',
    b'{"inputs":[[1' + b"0" * 400 + b"]]}",
    b'{"inputs":' + b"[" * 2000 + b"1" + b"]" * 2000 + b"}",
    b'{"inputs":[[{"a":{}}]]}',
    b'{"inputs":[' + b"[1]," * MAX_INPUTS + b"[1]]}",
    b"\xff",
    b"",
]


@pytest.mark.parametrize("body", UNUSUAL, ids=lambda body: repr(body[:30]))
def test_what_is_unusual_is_left_to_the_strict_reading(body: bytes) -> None:
    assert plain_json.read(body) is None
