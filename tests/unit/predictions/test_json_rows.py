"""Rows of a large body are those that parsing it as a whole gives, block by block."""

import json
from typing import Any

import numpy as np
import pytest

from app.errors import UnprocessableError
from app.kit.json_outline import full_outline
from app.predictions.bodies import json_rows
from app.predictions.bodies.json_rows import JsonRows
from app.predictions.bodies.lazy_rows import without_labels

ROWS: dict[str, list[Any]] = {
    "numbers": [[0.5, 1, -2e3], [4, 5, 6], [7, 8, 9]] * 40,
    "pictures": [[[0, 255], [7, 9]]] * 30,
    "objects": [{"a, b": '"],[', "c": None}, {"c": "\\"}] * 20,
    "texts": ["one", "", 'a "quoted" one', "\u4e00\U0001f600"] * 20,
    "uneven": [[1, 2], [1], ["a"], None, True, {"x": [[]]}] * 10,
    "shown": [{"row": 3, "split": "train", "input": [1, 2], "targets": {}}, [3, 4]],
    "one": [[1]],
}


def rows_of(body: bytes) -> JsonRows:
    rows = json_rows._rows(body, full_outline(body))
    assert rows is not None
    return rows


def plain(block: Any) -> list[Any]:
    return block.tolist() if isinstance(block, np.ndarray) else list(block)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(("indent", "before"), [(None, {}), (2, {"unknown": "warn", "other": [1, [2]]})])
def test_blocks_hold_all_rows_in_order(
    monkeypatch: pytest.MonkeyPatch, kind: str, indent: int | None, before: dict[str, Any]
) -> None:
    monkeypatch.setattr(json_rows, "MAX_BLOCK_BYTES", 100)
    expected = [without_labels(row) for row in ROWS[kind]]
    if before and "other" in before:  # another list stands first: the body is parsed as a whole
        body = json.dumps({**before, "inputs": ROWS[kind]}, indent=indent).encode()
        assert json_rows._rows(body, full_outline(body)) is None
        before = {"unknown": "warn"}
    body = json.dumps({**before, "inputs": ROWS[kind], "after": 1}, indent=indent, ensure_ascii=indent is None).encode()
    rows = rows_of(body)
    assert len(rows) == len(expected)
    blocks = list(rows.blocks(7))
    assert [row for _, block in blocks for row in plain(block)] == expected
    starts = [start for start, _ in blocks]
    assert starts == [sum(len(block) for _, block in blocks[:number]) for number in range(len(blocks))]
    assert max(len(block) for _, block in blocks) <= 7
    assert np.array_equal(rows[-1:][0], rows[len(rows) - 1])
    with pytest.raises(IndexError):
        rows[len(rows)]


@pytest.mark.parametrize("wrong", ["1 2", "", "NaN", '{"a": 1, "a": 2}', '"\\u0000"', "tru"])
def test_a_row_that_is_no_json_is_named(wrong: str) -> None:
    body = f'{{"inputs": [[1, 2], [3], {wrong}, [4]]}}'.encode()
    with pytest.raises(UnprocessableError, match="row 2: ") as caught:
        list(rows_of(body).blocks(100))
    assert caught.value.errors[0].row == 2


@pytest.mark.parametrize(
    "body", [b'{"inputs": []}', b'{"inputs": [ ]}', b'[["inputs"]]', b'{"x": [1], "inputs": [2]}', b'{"inputs": "a"}']
)
def test_what_has_no_list_of_inputs_is_parsed_as_a_whole(body: bytes) -> None:
    assert json_rows._rows(body, full_outline(body)) is None
