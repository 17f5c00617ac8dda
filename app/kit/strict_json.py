"""JSON as strictly as the RFC allows: what Python's decoder lets through silently is refused in words.

Duplicate keys (the last would win), NaN and Infinity (no JSON), lone surrogates and NUL (no database text),
numbers of thousands of digits, and nesting deeper than any honest document.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

import numpy as np

MAX_DEPTH = 64
# Possessive, and the closing quote may lack: nothing is ever scanned twice, however the quotes and backslashes lie.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", bytes([1, 1, 255, 255]))
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


class StrictJsonError(ValueError):
    """The document is not acceptable JSON; the message says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        msg = f"the key {twice[:100]!r} stands twice in one object; keep one"
        raise StrictJsonError(msg)
    return result


def _constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON; leave the value out or send a number"
    raise StrictJsonError(msg)


def _check_strings(text: str) -> None:
    """Escapes are the only way in for what raw UTF-8 cannot hold; look closer only when one is there."""
    if "\\u" not in text and "\x00" not in text:
        return
    decoded = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    stack = [decoded]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and _UNSTORABLE.search(item):
            msg = "a string holds a NUL or half of a surrogate pair; remove it"
            raise StrictJsonError(msg)
        if isinstance(item, list | tuple):
            stack.extend(item)


def _check_depth(body: bytes) -> None:
    """Count brackets outside strings, only when there are enough of them to matter. Linear, whatever the body is."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    bare = _STRING.sub(b"", body) if b'"' in body else body
    steps = np.frombuffer(bare.translate(_STEPS, _NO_BRACKETS), np.int8)
    if steps.cumsum(dtype=np.int32).max(initial=0) > MAX_DEPTH:
        msg = f"the document is nested deeper than {MAX_DEPTH} levels"
        raise StrictJsonError(msg)


def loads(body: bytes) -> Any:
    """Decode `body`.

    Raises:
        StrictJsonError: it is not UTF-8, not JSON, or one of the things above.
    """
    try:
        text = body.decode("utf-8")
        _check_depth(body)
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
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
