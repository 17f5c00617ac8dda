"""Tensors of the Open Inference Protocol: what is written is read back, and nothing else than an array or a refusal."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnprocessableError
from app.predictions.protocols.open_inference.schemas import InputTensor
from app.predictions.protocols.open_inference.tensors import DATATYPES, arrays_of, bytes_of, elements_of

SHAPES = st.lists(st.integers(0, 3), min_size=1, max_size=4)
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "?": st.booleans(),
    "u": st.integers(0, 255),
    "i": st.integers(-128, 127),
    "f": st.floats(width=16, allow_nan=False),
    "O": st.text(max_size=4),
}


@given(st.data(), st.sampled_from([name for name in DATATYPES if name != "BF16"]), SHAPES)
def test_what_is_written_is_read(data: st.DataObject, datatype: str, shape: list[int]) -> None:
    count = math.prod(shape)
    elements = data.draw(st.lists(ELEMENTS[DATATYPES[datatype].strip("<")[0]], min_size=count, max_size=count))
    array = np.empty(count, DATATYPES[datatype])
    array[:] = elements
    array = array.reshape(shape)
    content = bytes_of(array)
    flat = InputTensor(name="flat", shape=shape, datatype=datatype, data=elements_of(array))
    nested = InputTensor(name="nested", shape=shape, datatype=datatype, data=array.tolist())
    sized = InputTensor(name="sized", shape=shape, datatype=datatype, parameters={"binary_data_size": len(content)})
    arrays = arrays_of([flat, sized, nested], memoryview(content), has_content=True)
    for name, read in arrays.items():
        assert read.shape == tuple(shape)
        texts = [text.decode() if isinstance(text, bytes) else text for text in read.ravel().tolist()]
        assert texts == elements, name


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2), st.lists, max_leaves=6),
    st.sampled_from([*DATATYPES, "X"]),
    st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3), max_size=3),
    st.binary(max_size=20),
    st.none() | st.integers(-1, 20),
)
def test_anything_else_is_refused(
    value: Any, datatype: str, shape: list[int], content: bytes, size: int | None
) -> None:
    parameters = {} if size is None else {"binary_data_size": size}
    data = value if isinstance(value, list) else None
    tensor = InputTensor(name="t", shape=shape, datatype=datatype, data=data, parameters=parameters)
    try:
        (array,) = arrays_of([tensor], memoryview(content), has_content=True).values()
    except UnprocessableError:
        return
    assert array.shape == tuple(shape)


def test_bf16_is_the_upper_half_of_float32() -> None:
    numbers = np.array([1.0, -2.5, 0.15625], np.float32)
    content = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    tensor = InputTensor(name="t", shape=[3], datatype="BF16", parameters={"binary_data_size": 6})
    assert arrays_of([tensor], memoryview(content), has_content=True)["t"].tolist() == numbers.tolist()
    with pytest.raises(UnprocessableError, match="BF16 is sent as bytes"):
        arrays_of([InputTensor(name="t", shape=[1], datatype="BF16", data=[1])], memoryview(b""), has_content=False)
