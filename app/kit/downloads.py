"""Conditional and partial answers to GET (RFC 9110, sections 13 and 14): ETag, If-None-Match, If-Range and Range.

A Range header that is malformed is ignored, as the RFC says; one that no byte of the content lies in is answered 416.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from app.errors import RangeError

_MEDIA_TYPES = {".parquet": "application/vnd.apache.parquet", ".csv": "text/csv; charset=utf-8"}
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"\s*(?:(\d+)\s*-\s*(\d*)|-\s*(\d+))\s*")
_KEPT = ("etag", "cache-control", "vary", "last-modified")  # by an answer that nothing has changed
_MAX_RANGES = 16  # clients that ask for more are sent the whole
Span = tuple[int, int]  # first byte, and the one after the last


def entity_tag(content: bytes) -> str:
    """Return the ETag of content: strong, since equal tags mean equal bytes."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def is_current(request: Request, tag: str) -> bool:
    """Return whether If-None-Match names the tag, so that the client has what it would be sent."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag in _TAG.findall(given)


def not_modified(headers: Headers) -> Response:
    """Return 304 for an answer with such headers."""
    return Response(status_code=304, headers={name: value for name, value in headers.items() if name in _KEPT})


def spans_of(header: str, size: int) -> list[Span] | None:
    """Return the parts of `size` bytes that a Range header asks for.

    None: it is to be ignored. An empty list: none of its ranges lies within.
    """
    unit, separator, listed = header.partition("=")
    ranges = [_RANGE.fullmatch(part) for part in listed.split(",") if part.strip()]
    if unit.strip().lower() != "bytes" or not separator or not 1 <= len(ranges) <= _MAX_RANGES:
        return None
    spans: list[Span] = []
    for match in ranges:
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            span = max(size - int(suffix), 0), size
        elif last and int(last) < int(first):
            return None
        else:
            span = int(first), min(int(last) + 1, size) if last else size
        if span[0] < span[1]:
            spans.append(span)
    return spans


def refuse_range(size: int) -> NoReturn:
    """Raise RangeError for a range that lies outside of the content."""
    msg = f"The content has {size} bytes, and none of them is in the range that was asked for."
    raise RangeError(msg, size)


def asked_spans(headers: Headers, size: int, tag: str, last_modified: str | None) -> list[Span] | None:
    """Return the parts that a request asks for, None for the whole. Raises RangeError where there is none of them."""
    asked, if_range = headers.get("range"), headers.get("if-range")
    if asked is None or (if_range is not None and if_range not in (tag, last_modified)):
        return None
    spans = spans_of(asked, size)
    if spans == []:
        refuse_range(size)
    return spans


def conditional(request: Request, response: Response) -> Response:
    """Return an answer to GET whose content is in memory with its ETag; or 304, or the part that was asked for.

    Raises:
        RangeError: the range that was asked for lies outside of the content.
    """
    content = getattr(response, "body", b"")
    if request.method != "GET" or response.status_code != 200 or not isinstance(content, bytes) or not content:  # noqa: PLR2004
        return response
    tag = response.headers.setdefault("etag", entity_tag(content))
    response.headers.setdefault("cache-control", "no-cache")  # that is, to be asked about each time
    if is_current(request, tag):
        return not_modified(response.headers)
    if "content-disposition" not in response.headers:  # the parts of a JSON answer are of no use
        return response
    response.headers["accept-ranges"] = "bytes"
    spans = asked_spans(request.headers, len(content), tag, None)
    if spans is None or len(spans) != 1:
        return response
    return _part(response, content, spans[0])


def _part(response: Response, content: bytes, span: Span) -> Response:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{len(content)}"
    return Response(content[span[0] : span[1]], 206, headers)


class Download(FileResponse):
    """A file, whole or in the parts that a request asks for; its headers hold an ETag."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what is asked for. Raises RangeError."""
        size = int(self.headers["content-length"])
        headers = MutableHeaders(raw=list(scope["headers"]))
        spans = asked_spans(headers, size, self.headers["etag"], self.headers["last-modified"])
        for name in ("range", "if-range"):
            if name in headers:
                del headers[name]
        if spans is not None:
            headers["range"] = "bytes=" + ", ".join(f"{start}-{end - 1}" for start, end in spans)
        await super().__call__({**scope, "headers": headers.raw}, receive, send)


def checked_file(request: Request, sha256: str, name: str, fetch: Callable[[], Path]) -> Response:
    """Return a file as the answer to a request: 304 where the client has it, else all of it or the ranges asked for.

    `fetch` returns the file, after its bytes were checked against their digest.
    """
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "no-cache", "Repr-Digest": f"sha-256=:{digest}:"}
    if is_current(request, headers["ETag"]):
        return not_modified(Headers(headers))
    path = fetch()
    media_type = _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
    return Download(path, 200, headers, media_type, filename=name, stat_result=path.stat())
