"""Bodies of requests that are costly to read."""

from collections.abc import Callable

JSON = "application/json"


def _filled(begin: str, item: str, end: str) -> Callable[[int], bytes]:
    """Return what makes a body of nearly so many bytes."""

    def make(size: int) -> bytes:
        return (begin + ",".join([item] * (size // (len(item) + 1))) + end).encode()

    return make


def _rows_of_numbers(size: int) -> bytes:
    row = "[" + ",".join(["0.123"] * (size // 6 // 4096)) + "]"
    return _filled('{"inputs":[', row, "]}")(size)


_MAKERS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "objects": (JSON, _filled('{"inputs":[[', "{}", "]]}")),
    "texts": (JSON, _filled('{"inputs":[[', '"ab"', "]]}")),
    "numbers": (JSON, _filled('{"inputs":[[', "1", "]]}")),
    "rows of numbers": (JSON, _rows_of_numbers),
    "nesting": (JSON, lambda size: b'{"inputs":' + b"[" * size),
    "escapes": (JSON, _filled('{"inputs":[[', r'"\u00e9\"', "]]}")),
    "lines": ("application/x-ndjson", lambda size: b"[{},{}]\n" * (size // 8)),
    "cells": ("text/csv", lambda size: b"a,b\n" + b"1," * (size // 2)),
    "rows of cells": ("text/csv", lambda size: (b"width,height,depth" + b",1" * (size // 8192) + b"\n") * 4000),
    "rows of quoted cells": ("text/csv", lambda size: (b'"a","b"' + b',""' * (size // 16384) + b"\n") * 4000),
    "rows of lines": ("application/x-ndjson", lambda size: (b"[1" + b",1" * (size // 8192) + b"]\n") * 4000),
    "form": ("multipart/form-data; boundary=x", lambda size: b"--x\r\n" + b"\r\n--" * (size // 4)),
}
KINDS = tuple(sorted(_MAKERS))


def costly(kind: str, size: int) -> tuple[str, bytes]:
    """Return the type and a body of nearly so many bytes of a kind."""
    content_type, make = _MAKERS[kind]
    return content_type, make(size - 1000)
