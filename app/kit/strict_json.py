"""A strict JSON decoder: refuses with a clear message what Python's decoder accepts silently.

It refuses duplicate keys (Python keeps the last), NaN and Infinity (not JSON), lone surrogates and NUL (databases
cannot store them), numbers of thousands of digits, and nesting deeper than `MAX_DEPTH`.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

import numpy as np

MAX_DEPTH = 64
# Possessive quantifier and optional closing quote: linear time for any sequence of quotes and backslashes.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", bytes([1, 1, 255, 255]))  # as int8: opening is +1, closing -1
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


class StrictJsonError(ValueError):
    """The document is refused; the message says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        ((duplicate, _),) = Counter(key for key, _ in pairs).most_common(1)
        msg = f"the key {duplicate[:100]!r} stands twice in one object; keep one"
        raise StrictJsonError(msg)
    return result


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON; leave the value out or send a number"
    raise StrictJsonError(msg)


def _check_strings(text: str) -> None:
    """Refuse strings that hold a NUL or a lone surrogate.

    Valid UTF-8 has surrogates only as escapes, so a text without escapes needs no second decoding.
    """
    if "\\u" not in text and "\x00" not in text:
        return
    decoded = json.loads(text, object_pairs_hook=lambda pairs: pairs)  # keeps the keys as strings to check
    stack = [decoded]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and _UNSTORABLE.search(item):
            msg = "a string holds a NUL or half of a surrogate pair; remove it"
            raise StrictJsonError(msg)
        if isinstance(item, list | tuple):
            stack.extend(item)


def _check_depth(body: bytes) -> None:
    """Refuse nesting deeper than `MAX_DEPTH`: track the depth over brackets outside strings, in linear time."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    unquoted = _STRING.sub(b"", body) if b'"' in body else body
    steps = np.frombuffer(unquoted.translate(_STEPS, _NO_BRACKETS), np.int8)
    if steps.cumsum(dtype=np.int32).max(initial=0) > MAX_DEPTH:
        msg = f"the document is nested deeper than {MAX_DEPTH} levels"
        raise StrictJsonError(msg)


def loads(body: bytes) -> Any:
    """Decode a JSON document.

    Raises:
        StrictJsonError: the document is not UTF-8, not JSON, or holds something that this decoder refuses.
    """
    try:
        text = body.decode("utf-8")
        _check_depth(body)
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        _check_strings(text)
    except UnicodeDecodeError as error:
        msg = f"the body is not UTF-8 (byte {error.start})"
        raise StrictJsonError(msg) from None
    except json.JSONDecodeError as error:
        msg = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise StrictJsonError(msg) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, StrictJsonError):
            raise
        msg = "a number has too many digits" if isinstance(error, ValueError) else "nested too deep"
        raise StrictJsonError(msg) from None
    return value
