"""A strict JSON decoder: refuses with a clear message what Python's decoder accepts silently.

It refuses duplicate keys (Python keeps the last), NaN and Infinity (not JSON), lone surrogates and NUL (databases
cannot store them), numbers of thousands of digits, and nesting deeper than `MAX_DEPTH`.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from app.kit.json_outline import MAX_DEPTH, full_outline

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


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _check_strings(text: str, value: Any) -> None:
    """Refuse strings that hold a NUL or a lone surrogate.

    Valid UTF-8 has surrogates only as escapes, so a text without escapes needs no look at the strings.
    """
    if "\\u" not in text and "\x00" not in text:
        return
    stack: list[Any] = [iter((value,))]  # iterators: what is still to be seen takes no memory
    while stack:
        for item in stack[-1]:
            if isinstance(item, str) and _UNSTORABLE.search(item):
                msg = "a string holds a NUL or half of a surrogate pair; remove it"
                raise StrictJsonError(msg)
            if isinstance(item, dict):
                stack.append(iter((*item, *item.values())))
                break
            if isinstance(item, list):
                stack.append(iter(item))
                break
        else:
            stack.pop()


def _check_depth(body: bytes) -> None:
    """Refuse nesting deeper than `MAX_DEPTH`, which is seen before anything is parsed."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and full_outline(body).depth > MAX_DEPTH:
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
        value = json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)  # loads names such a mark
        _check_strings(text, value)
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
