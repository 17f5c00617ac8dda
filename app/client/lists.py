"""Paths, and lists that come in pages."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from app.client.transport import Transport


def pages(transport: Transport, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through all pages of a list."""
    after = None
    while True:
        page = transport.get(path, after=after, limit=100, **filters)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["last_id"]


def path_of(*parts: str) -> str:
    """Return the path of a resource, each part quoted."""
    return "/v1/" + "/".join(quote(part, safe="@") for part in parts)
