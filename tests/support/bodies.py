"""Bodies of requests that are costly to read."""


def filled(begin: str, item: str, end: str, size: int) -> bytes:
    return (begin + ",".join([item] * (size // (len(item) + 1))) + end).encode()


def costly(size: int) -> dict[str, tuple[str, bytes]]:
    """Bodies of nearly so many bytes by what is costly about them, with their types."""
    size -= 1000
    rows = filled('{"inputs":[', "[" + ",".join(["0.123"] * (size // 6 // 4096)) + "]", "]}", size)
    return {
        "objects": ("application/json", filled('{"inputs":[[', "{}", "]]}", size)),
        "texts": ("application/json", filled('{"inputs":[[', '"ab"', "]]}", size)),
        "numbers": ("application/json", filled('{"inputs":[[', "1", "]]}", size)),
        "rows of numbers": ("application/json", rows),
        "nesting": ("application/json", b'{"inputs":' + b"[" * size),
        "escapes": ("application/json", filled('{"inputs":[[', r'"\u00e9\"', "]]}", size)),
        "lines": ("application/x-ndjson", b"[{},{}]\n" * (size // 8)),
        "cells": ("text/csv", b"a,b\n" + b"1," * (size // 2)),
        "form": ("multipart/form-data; boundary=x", b"--x\r\n" + b"\r\n--" * (size // 4)),
    }
