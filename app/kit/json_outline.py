"""The outline of a JSON document: its depth, its size and where the items of a list stand, before it is parsed.

Found in one pass of vectorised operations over blocks of bytes, which hold neither the interpreter nor much memory.
Documents that are no JSON have an outline as well: it bounds what parsing them takes, and the parser says what is
wrong.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 64  # of a document that is parsed
BLOCK_BYTES = 1 << 18
QUICK_BYTES = 1 << 16  # up to which the bytes are counted without a look at strings
MAX_ITEMS = 1 << 16  # whose positions are kept
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1

# Bytes that Python takes at most, without those of strings, for each value, each member of an object and each list or
# object; the pairs of an object exist twice for a moment.
STRING_BYTES, VALUE_BYTES, MEMBER_BYTES, CONTAINER_BYTES = 64, 40, 160, 160
_BEYOND_LATIN_1, _FOUR_BYTES = 0xC4, 0xF0  # first bytes of characters in UTF-8


@dataclass
class Outline:
    """What a document consists of; items are those of the first list at depth 2, as in `{"inputs": [...]}`."""

    depth: int = 0
    containers: int = 0
    commas: int = 0
    colons: int = 0
    quotes: int = 0
    start: int = -1  # position of the list's opening bracket
    end: int = -1  # position of its closing bracket
    separators: list[NDArray[np.int64]] = field(default_factory=list)  # positions of the commas between its items
    items: int = 0  # one more than there are commas

    @property
    def values(self) -> int:
        """How many values and containers there are at most."""
        return self.commas + self.containers + 1

    def parsed_bytes(self, body: bytes | memoryview) -> int:
        """Return the bytes that parsing the document takes at most: its text, once as a whole, and all objects."""
        return (
            2 * text_bytes(body)
            + STRING_BYTES * (self.quotes // 2)
            + VALUE_BYTES * self.values
            + MEMBER_BYTES * self.colons
            + CONTAINER_BYTES * self.containers
        )


def count_bytes(body: bytes, signs: bytes) -> int:
    """Return how many bytes of a body are among the signs, without holding the interpreter for long."""
    is_sign = np.zeros(256, bool)
    is_sign[list(signs)] = True
    return sum(int(np.count_nonzero(is_sign[block])) for block in _blocks(body))


def parsed_bytes(body: bytes | memoryview) -> int:
    """Return the bytes that parsing a document takes at most; one that is nested too deep is not parsed."""
    seen = outline(body) if isinstance(body, bytes) else full_outline(body)
    return 2 * text_bytes(body) if seen.depth > MAX_DEPTH else seen.parsed_bytes(body)


def text_bytes(body: bytes | memoryview) -> int:
    """Return the bytes that the text takes as a string: 1, 2 or 4 for each of its characters."""
    if isinstance(body, bytes) and body.isascii():
        return len(body)
    characters, widest = 0, 0
    for block in _blocks(body):
        characters += int(np.count_nonzero((block & 0xC0) != 0x80))  # noqa: PLR2004 - bytes that go on with a character
        widest = max(widest, int(block.max()))
    return characters * (4 if widest >= _FOUR_BYTES else 2 if widest >= _BEYOND_LATIN_1 else 1)


def quick_outline(body: bytes) -> Outline:
    """Return counts that may be too large, since strings are counted too; for small bodies."""
    return Outline(
        containers=body.count(b"[") + body.count(b"{"),
        commas=body.count(b","),
        colons=body.count(b":"),
        quotes=body.count(b'"'),
    )


def outline(body: bytes) -> Outline:
    """Return the outline of a document; small ones are only counted."""
    return quick_outline(body) if len(body) <= QUICK_BYTES else full_outline(body)


def full_outline(body: bytes | memoryview) -> Outline:
    """Return the outline of a document with the positions of a list's items."""
    result = Outline()
    depth = 0
    for offset, block, outside in _outside_strings(_blocks(body), result):
        depth = _add(result, offset, np.where(outside, block, 0), depth)
    return result


def item_edges(blocks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.int64]]:
    """Yield the edges of a list's items, or of an object's members, block by block.

    The first byte of the blocks is the opening bracket. Edges are its position, those of the commas between the items,
    and that of the closing bracket, after which nothing is read; where it is missing, the last edge is a comma's.
    """
    depth = 0
    yield np.zeros(1, np.int64)
    for offset, block, outside in _outside_strings(blocks, Outline()):
        signs = np.where(outside, block, 0)
        depths = np.cumsum(_STEPS[signs], dtype=np.int32) + depth
        ends = np.flatnonzero(depths == 0)
        end = int(ends[0]) if len(ends) else len(block)
        yield offset + np.flatnonzero((signs[:end] == _COMMA) & (depths[:end] == 1))
        if len(ends):
            yield np.array([offset + end])
            return
        depth = int(depths[-1])


def _blocks(body: bytes | memoryview) -> Iterator[NDArray[np.uint8]]:
    for offset in range(0, len(body), BLOCK_BYTES):
        yield np.frombuffer(body, np.uint8, min(BLOCK_BYTES, len(body) - offset), offset)


def _outside_strings(
    blocks: Iterable[NDArray[np.uint8]], result: Outline
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield blocks of bytes with their offsets, and which of the bytes are outside strings; count the quotes."""
    is_escaped = is_inside = False
    offset = 0
    for block in blocks:
        quotes = block == _QUOTE
        is_escaped = _drop_escaped(block, quotes, is_escaped)
        inside = (np.cumsum(quotes, dtype=np.uint8) & 1).astype(bool) ^ is_inside
        is_inside = bool(inside[-1])
        result.quotes += int(np.count_nonzero(quotes))
        yield offset, block, ~inside
        offset += len(block)


def _drop_escaped(block: NDArray[np.uint8], quotes: NDArray[np.bool_], is_escaped: bool) -> bool:
    """Clear the quotes that a backslash escapes; return whether the first byte of the next block is escaped."""
    if is_escaped and block[0] != _BACKSLASH:
        quotes[0] = False
    places = np.flatnonzero(block == _BACKSLASH)
    if not len(places):
        return False
    is_first = np.ones(len(places), bool)
    is_first[1:] = np.diff(places) > 1
    run = np.maximum.accumulate(np.where(is_first, np.arange(len(places)), 0))  # index of the first of each run
    order = np.arange(len(places)) - run
    if is_escaped and places[0] == 0:  # the first of this run is escaped itself
        order[run == 0] += 1
    escaped = places[order % 2 == 0] + 1
    quotes[escaped[escaped < len(block)]] = False
    return bool(len(escaped)) and int(escaped[-1]) == len(block)


def _add(result: Outline, offset: int, block: NDArray[np.uint8], depth: int) -> int:
    """Add a block without its strings to an outline; return the depth at its end."""
    steps = _STEPS[block]
    depths = np.cumsum(steps, dtype=np.int32) + depth
    commas = block == _COMMA
    result.commas += int(np.count_nonzero(commas))
    result.colons += int(np.count_nonzero(block == _COLON))
    result.containers += int(np.count_nonzero(steps == 1))
    result.depth = max(result.depth, int(depths.max(initial=0)))
    if result.end < 0:
        _add_items(result, offset, steps, depths, commas)
    return int(depths[-1])


def _add_items(
    result: Outline, offset: int, steps: NDArray[np.int8], depths: NDArray[np.int32], commas: NDArray[np.bool_]
) -> None:
    """Find the list's begin, end and commas in a block."""
    begin = 0
    if result.start < 0:
        starts = np.flatnonzero((steps == 1) & (depths == 2))  # noqa: PLR2004 - within the document's object
        if not len(starts):
            return
        begin = int(starts[0])
        result.start = offset + begin
        result.items = 1
    ends = np.flatnonzero((steps[begin:] == -1) & (depths[begin:] == 1))
    end = begin + int(ends[0]) if len(ends) else len(steps)
    if len(ends):
        result.end = offset + end
    between = begin + np.flatnonzero(commas[begin:end] & (depths[begin:end] == 2))  # noqa: PLR2004 - as above
    if result.items <= MAX_ITEMS:
        result.separators.append(between + offset)
    result.items += len(between)
