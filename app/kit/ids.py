"""Identifiers: a prefix that names the kind, and a UUIDv7 (RFC 9562), so that they sort by time of creation."""

import os
import re
import time

ID_PATTERN = r"^[a-z]+_[0-9a-f]{32}$"
_SHAPE = re.compile(ID_PATTERN)


def new_id(prefix: str) -> str:
    """Return a fresh identifier such as `job_0197...`."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{prefix}_{value:032x}"


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an identifier of this kind."""
    return text.startswith(f"{prefix}_") and _SHAPE.fullmatch(text) is not None
