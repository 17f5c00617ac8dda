"""Answers in pieces: what they take is reserved after their first block, and they are what one piece would be."""

import asyncio
import io
import json

import numpy as np

from app.predictions.answers import ArrayItems, JsonItems, pieces_response
from app.predictions.formats import NPY, RAW, ArrayAnswer, array_response
from app.predictions.schemas import ModelName

MODEL = ModelName(id="mdl_1", name="sizes", version=1)


def test_the_whole_is_reserved_after_the_first_block() -> None:
    reserved: list[int] = []
    items = JsonItems(100, reserved.append)
    block = [{"text": "x" * 1000}] * 10
    items.add(block)
    assert 100 * 1000 <= sum(reserved) <= 120 * 1000
    for _ in range(9):
        items.add(block)
    assert len(reserved) == 1
    assert sum(map(len, items.pieces)) <= sum(reserved)


def test_rows_that_grow_are_reserved_as_they_come() -> None:
    reserved: list[int] = []
    items = JsonItems(20, reserved.append)
    for size in (10, 100_000):
        items.add(["x" * size] * 10)
    assert sum(map(len, items.pieces)) <= sum(reserved)


def test_small_answers_are_not_counted() -> None:
    reserved: list[int] = []
    JsonItems(2, reserved.append).add([1, 2])
    ArrayItems(2, reserved.append).add(np.zeros((2, 3)))
    assert reserved == []


def test_arrays_are_reserved_once_and_stand_in_one_place() -> None:
    reserved: list[int] = []
    items, whole = ArrayItems(5000, reserved.append), np.arange(20_000.0).reshape(5000, 4)
    for start in range(0, 5000, 1000):
        items.add(whole[start : start + 1000])
    assert np.array_equal(items.array, whole)
    assert whole.nbytes <= sum(reserved) <= 1.2 * whole.nbytes


def sent(response: object) -> tuple[dict[str, str], list[bytes]]:
    messages: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    async def receive() -> dict[str, str]:
        await asyncio.sleep(240)
        return {"type": "http.disconnect"}

    asyncio.run(response({"type": "http", "method": "POST"}, receive, send))  # type: ignore[operator]
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}  # type: ignore[attr-defined]
    return headers, [bytes(message["body"]) for message in messages[1:]]  # type: ignore[call-overload]


def test_large_answers_are_sent_piece_by_piece_with_their_length() -> None:
    items = JsonItems(3000, lambda _: None)
    rows = [{"row": row, "text": "x" * 300} for row in range(3000)]
    for start in range(0, 3000, 1000):
        items.add(rows[start : start + 1000])
    headers, bodies = sent(pieces_response([b"[", *items.pieces, b"]"]))
    assert json.loads(b"".join(bodies)) == rows
    assert headers["content-length"] == str(sum(map(len, bodies)))
    assert max(map(len, bodies)) <= 1 << 18


def test_arrays_are_sent_as_they_were() -> None:
    numbers = np.random.default_rng(0).normal(size=(3000, 40)).astype(np.float32)
    _, bodies = sent(array_response(ArrayAnswer(MODEL, numbers, []), NPY))
    assert np.array_equal(np.load(io.BytesIO(b"".join(bodies))), numbers)
    headers, bodies = sent(array_response(ArrayAnswer(MODEL, numbers.astype(">f4"), []), RAW))
    assert b"".join(bodies) == numbers.astype("<f4").tobytes()
    assert headers["content-type"] == 'application/octet-stream; dtype=float32; shape="3000,40"'
    headers, bodies = sent(array_response(ArrayAnswer(MODEL, numbers[:3], []), NPY))
    assert np.array_equal(np.load(io.BytesIO(b"".join(bodies))), numbers[:3])
