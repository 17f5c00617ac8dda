"""The outline of a JSON document is that of its parsed value, however its strings, escapes and blocks fall."""

import itertools
import json
import random
from typing import Any

import pytest

from app.kit import json_outline
from app.kit.json_outline import full_outline, quick_outline


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def containers_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + sum(map(containers_of, inner))


TRICKY = ['a"b', "\\", '\\"', "[{", "]}", ",,", ":", 'x\\\\"', "", "é", "\U0001f600", '\\\\\\"[', "\n\t"]


def document(random: random.Random, depth: int = 0) -> Any:
    kind = random.randrange(6 if depth < 5 else 3)
    if kind == 0:
        return random.choice(TRICKY) * random.randrange(3)
    if kind in (1, 2):
        return random.choice([1, -2.5, None, True, 1e300])
    size = random.randrange(4)
    if kind in (3, 4):
        return [document(random, depth + 1) for _ in range(size)]
    return {f"{random.choice(TRICKY)}{number}": document(random, depth + 1) for number in range(size)}


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1 << 18])
def test_the_outline_is_that_of_the_value(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_outline, "BLOCK_BYTES", block)
    chance = random.Random(block)  # noqa: S311 - repeatable
    for _ in range(60):
        rows = [document(chance) for _ in range(chance.randrange(1, 5))]
        value = {"inputs": rows, "zz": document(chance)}
        body = json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2])).encode()
        seen = full_outline(body)
        assert (seen.depth, seen.containers) == (depth_of(value), containers_of(value))
        assert seen.items == len(rows)
        edges = [seen.start, *(int(place) for part in seen.separators for place in part), seen.end]
        items = [body[before + 1 : after] for before, after in itertools.pairwise(edges)]
        assert [json.loads(item) for item in items] == rows
        assert quick_outline(body).values >= seen.values


def test_what_is_no_json_has_an_outline_too() -> None:
    for body in (b"", b"]]]]", b'"' * 1001, b"\\" * 1001, b"[" * 100_000, b"\xff" * 1000, b'{"inputs": [1, 2'):
        seen = full_outline(body)
        assert seen.end == -1
    assert full_outline(b"[" * 100_000).depth == 100_000


ITEMS = ["{}", "[]", '"ab"', "0.5", "12345678", '{"a":1}', '{"abc":[[]]}', r'"\u00e9\u00e9"', "1e5", '""']
WIDE = ['"\u4e00\u4e00"', '"\U0001f600"', '"a\u00e9"']


@pytest.mark.parametrize("item", [*ITEMS, *WIDE])
def test_no_parsed_value_takes_more_than_is_said(item: str) -> None:
    """Measured by the interpreter itself, with the parser that is used."""
    import tracemalloc  # noqa: PLC0415 - for this test alone

    from app.kit import strict_json  # noqa: PLC0415 - the same

    body = b"[" + b",".join([item.encode()] * 20_000) + b"]"
    tracemalloc.start()
    try:
        value = strict_json.loads(body)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(value) == 20_000
    assert taken <= full_outline(body).parsed_bytes(body) + (1 << 16)


@pytest.mark.parametrize("text", ["[1, 2]", '["\u4e00"]', '["\U0001f600", "a"]', '["a\u00e9"]', "[]"])
def test_a_part_of_a_body_is_looked_at_without_a_copy(text: str) -> None:
    part = text.encode()
    body = b"xx" + part + b"yy"
    seen = memoryview(body)[2 : 2 + len(part)]
    assert json_outline.text_bytes(seen) == json_outline.text_bytes(part)
    assert json_outline.parsed_bytes(seen) == full_outline(part).parsed_bytes(part)
