"""Identifiers: a prefix that names the kind, and a UUIDv7 (RFC 9562), so that they sort by time of creation."""

import os
import re
import time

ID_PATTERN = r"^[a-z]+_[0-9a-f]{32}$"
_SHAPE = re.compile(ID_PATTERN)
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")


def new_id(prefix: str) -> str:
    """Return a fresh identifier such as `job_0197...`."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{prefix}_{value:032x}"


def request_id(client_id: str) -> str:
    """Return the id of a request: the one that its client gives it where that is sound, else a fresh one."""
    return client_id if client_id and _REQUEST_ID.fullmatch(client_id) else new_id("req")


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an identifier of this kind."""
    return text.startswith(f"{prefix}_") and _SHAPE.fullmatch(text) is not None
