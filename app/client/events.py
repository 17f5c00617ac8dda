"""Reads server-sent events."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def read_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the JSON in the `data` of each event; comments (pings) and fields that are not needed are passed over.

    An event that the end of the stream cuts short is not yielded.
    """
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []
