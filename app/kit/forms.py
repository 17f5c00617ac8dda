"""Receives multipart forms as streams: the file is hashed and written to disk as it arrives, never held in memory.

The sizes of body, fields and part headers, and the number of fields, are limited. The file is temporary: it is deleted
when the `receive_form` block ends, so callers copy its bytes elsewhere before.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.errors import BadRequestError, ErrorItem, UnprocessableError, UnsupportedMediaError
from app.kit.streaming import (
    WRITE_BYTES,
    Limit,
    ReceivedFile,
    announced_digest,
    chunks_of,
    display_name,
    refuse_compressed,
    refuse_other_digest,
    temporary_file,
)

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 64 << 10
MAX_FIELDS = 20
MAX_ITEMS = 1000  # of a list, as parts
MAX_NAME_BYTES = 255
MAX_HEADER_BYTES = 8 << 10  # holds the longest filename that browsers send; it is cut to 255 characters
FILE_FIELD = "file"


@dataclass(frozen=True)
class Form(ReceivedFile):
    """A received form: its file, and its text fields."""

    filename: str
    fields: dict[str, str]


@asynccontextmanager
async def receive_form(
    request: Request,
    folder: Path,
    limit: Limit,
    *,
    field_bytes: int = MAX_FIELD_BYTES,
    lists: Mapping[str, Collection[str]] | None = None,
) -> AsyncIterator[Form]:
    """Receive a multipart body; its file exists in `folder` until the block ends.

    `lists` are the fields that may be lists, as `app.kit.json_schema.list_fields` names them: as one part, which is
    JSON, or as a part for each item, which become the JSON of a list.

    Raises:
        UnsupportedMediaError: the body is not multipart/form-data, or is compressed.
        GraftworkError: that of the limit; the body is announced as longer, or proves to be.
        BadRequestError: the body is malformed, ends early, or does not match its Content-Digest.
        UnprocessableError: the form has no file, more than one, a field over `field_bytes`, or one that stands twice
            and is no list.
    """
    refuse_compressed(request)
    boundary = _boundary(request)
    digest = announced_digest(request)
    async with temporary_file(folder) as path:
        with path.open("wb") as file:
            parts = _Parts(file, field_bytes, lists or {})
            parser = MultipartParser(boundary, parts.callbacks(), max_header_count=8, max_header_size=MAX_HEADER_BYTES)
            await _receive(request, parser, parts, limit, digest)
        yield parts.form(path)


def _boundary(request: Request) -> bytes:
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        msg = "Send multipart/form-data with a part named 'file'."
        raise UnsupportedMediaError(msg)
    boundary = parameters.get(b"boundary", b"")
    if not re.fullmatch(rb"[\x20-\x7e]{1,70}", boundary):
        msg = "The Content-Type needs a boundary of 1 to 70 characters."
        raise BadRequestError(msg, code="malformed_multipart")
    return boundary


async def _receive(
    request: Request, parser: MultipartParser, parts: "_Parts", limit: Limit, digest: bytes | None
) -> None:
    """Feed the body to the parser chunk by chunk, and check its digest."""
    sha256 = hashlib.sha256()
    try:
        async for chunk in chunks_of(request, limit):
            if digest is not None:
                sha256.update(chunk)
            parser.write(chunk)
            if parts.buffered_bytes >= WRITE_BYTES:
                await run_in_threadpool(parts.write)
        parser.finalize()
    except FormParserError:
        msg = "The multipart body is malformed or ends too early."
        raise BadRequestError(msg, code="malformed_multipart") from None
    await run_in_threadpool(parts.write)
    refuse_other_digest(digest, sha256.digest())


def _unprocessable(name: str, msg: str) -> UnprocessableError:
    return UnprocessableError(f"{name}: {msg}", errors=[ErrorItem(loc=["body", name], msg=msg)])


@dataclass
class _Parts:
    """Collects the parts of a form from the parser's callbacks. Bytes of the file are buffered until `write`."""

    file: IO[bytes]
    field_bytes: int
    lists: Mapping[str, Collection[str]]
    texts: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # of each field's parts
    filename: str | None = None
    size: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    buffered_bytes: int = 0
    _buffer: list[bytes] = field(default_factory=list)
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))  # name, value
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _name: str = ""
    _sizes: Counter[str] = field(default_factory=Counter)  # bytes by field
    _value: bytearray | None = None  # of the field that is being received; None for the file
    _ended: bool = False

    def callbacks(self) -> "MultipartCallbacks":
        """Return the parser's callbacks by name."""
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all_ended,
        }

    def write(self) -> None:
        """Hash and write the buffered bytes. Runs in a thread; the parser is not called meanwhile."""
        block = b"".join(self._buffer)
        self._buffer.clear()
        self.buffered_bytes = 0
        self.size += len(block)
        self.sha256.update(block)
        self.file.write(block)
        self.file.flush()

    def form(self, path: Path) -> Form:
        """Return the form once the body is received and written. Raises if it is incomplete."""
        if not self._ended:
            msg = "The multipart body ends before its last boundary."
            raise BadRequestError(msg, code="malformed_multipart")
        if self.filename is None:
            raise _unprocessable(FILE_FIELD, "send the file as a part of this name, with a filename")
        fields = {name: self._text_of(name, texts) for name, texts in self.texts.items()}
        return Form(path, self.sha256.hexdigest(), self.size, self.filename, fields)

    def _text_of(self, name: str, texts: list[str]) -> str:
        """Return the text of a field: the JSON of a list whose items came as parts, even as a single one."""
        is_whole = name not in self.lists or not texts[0].strip() or _type_of(texts[0]) in {"array", *self.lists[name]}
        if len(texts) == 1 and is_whole:
            return texts[0]
        return f"[{','.join(json.dumps(text) if _type_of(text) == 'string' else text for text in texts)}]"

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if not 0 < len(name) <= MAX_NAME_BYTES:
            msg = "Every part needs a Content-Disposition with a name of at most 255 bytes."
            raise BadRequestError(msg, code="malformed_multipart")
        self._name = _decoded(name, "a part's name")
        if self._name == FILE_FIELD:
            self._begin_file(options)
        else:
            self._begin_field(b"filename" in options)

    def _begin_file(self, options: dict[bytes, bytes]) -> None:
        if self.filename is not None:
            raise _unprocessable(FILE_FIELD, "send one file only")
        if b"filename" not in options:
            raise _unprocessable(FILE_FIELD, "this part is a field; give it a filename so that it is a file")
        self.filename = display_name(options[b"filename"].decode("utf-8", "replace"))
        self._value = None

    def _begin_field(self, is_file: bool) -> None:
        name = self._name[:100]
        if is_file:
            raise _unprocessable(name, f"only the part {FILE_FIELD!r} may be a file")
        if name in self.texts and name not in self.lists:
            raise _unprocessable(name, "this field stands twice; send it once")
        if len(self.texts.get(name, ())) >= MAX_ITEMS:
            raise _unprocessable(name, f"a list has at most {MAX_ITEMS} parts; send it as one part, which is JSON")
        if name not in self.texts and len(self.texts) >= MAX_FIELDS:
            msg = f"A form has at most {MAX_FIELDS} fields."
            raise BadRequestError(msg, code="malformed_multipart")
        self._value = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._buffer.append(data[start:end])
            self.buffered_bytes += end - start
            return
        self._value += data[start:end]
        self._sizes[self._name] += end - start
        if self._sizes[self._name] > self.field_bytes:
            raise _unprocessable(self._name[:100], f"a field has at most {self.field_bytes} bytes")

    def _end(self) -> None:
        if self._value is not None:
            self.texts[self._name[:100]].append(_decoded(bytes(self._value), f"the field {self._name[:100]!r}"))
        self._value = None

    def _all_ended(self) -> None:
        self._ended = True


def _type_of(text: str) -> str:
    """Return the JSON type that the text of a part is taken for."""
    return {"{": "object", "[": "array"}.get(text.lstrip()[:1], "string")


def _decoded(raw: bytes, what: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        msg = f"The body is malformed: {what} is not UTF-8."
        raise BadRequestError(msg, code="malformed_multipart") from None
    if "\0" in text:
        msg = f"The body is malformed: {what} holds a NUL."
        raise BadRequestError(msg, code="malformed_multipart")
    return text
