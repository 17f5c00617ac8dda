import asyncio
import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from app.errors import GraftworkError
from app.kit.forms import MAX_FIELD_BYTES, Form, receive_form
from app.kit.streaming import Limit, display_name

BOUNDARY = "frontier"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def receive(
    folder: Path,
    chunks: Sequence[bytes],
    limit: int = 1 << 20,
    whole: bool = True,
    lists: dict[str, set[str]] | None = None,
    **headers: str,
) -> tuple[Form, bytes]:
    """Take in a body that comes in these chunks; returns the form and the file's bytes."""
    fields = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if whole else {"type": "http.disconnect"})
    coming = iter(messages)

    async def next_message() -> dict[str, Any]:
        return next(coming)

    scope = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in fields.items()]}

    async def run() -> tuple[Form, bytes]:
        async with receive_form(Request(scope, next_message), folder, Limit(limit), lists=lists) as form:
            return form, form.path.read_bytes()

    try:
        return asyncio.run(run())
    finally:
        assert list(folder.iterdir()) == [] if folder.exists() else True


@given(cuts=st.lists(st.integers(0, 400), max_size=12), content=st.binary(max_size=200))
@settings(max_examples=60)
def test_the_form_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], content: bytes
) -> None:
    body = part("name", "größe".encode()) + part("file", content, "a.csv") + part("seed", b"7") + END
    if f"--{BOUNDARY}".encode() in content:
        return
    points = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(points)]
    form, kept = receive(tmp_path_factory.getbasetemp() / "cut", chunks)
    assert kept == content
    assert (form.sha256, form.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert form.fields == {"name": "größe", "seed": "7"}
    assert form.filename == "a.csv"


def test_a_large_file_is_written_as_it_comes(tmp_path: Path) -> None:
    block = bytes(range(256)) * 256
    chunks = [part("file", b"", "a")[:-2], *[block] * 100, b"\r\n" + END]
    form, kept = receive(tmp_path, chunks, limit=10 << 20)
    assert kept == block * 100
    assert form.sha256 == hashlib.sha256(kept).hexdigest()


FILE = part("file", b"rows", "a.csv")


@pytest.mark.parametrize(
    ("chunks", "options", "status", "code"),
    [
        ([FILE], {}, 400, "malformed_multipart"),
        ([FILE, END], {"whole": False}, 400, "aborted"),
        ([b"not multipart at all"], {}, 400, "malformed_multipart"),
        ([part("file", b"x" * 4096, "a"), END], {"limit": 1000}, 413, "too_large"),
        ([FILE, END], {"limit": 1000, "content_length": "1001"}, 413, "too_large"),
        ([FILE, END], {"content_encoding": "gzip"}, 415, "unsupported_media_type"),
        ([FILE, END], {"content_type": "application/json"}, 415, "unsupported_media_type"),
        ([FILE, END], {"content_type": "multipart/form-data"}, 400, "malformed_multipart"),
        ([FILE, END], {"content_type": f"multipart/form-data; boundary={'b' * 71}"}, 400, "malformed_multipart"),
        ([FILE, END], {"content_digest": "sha-256=:AAAA:"}, 400, "digest_mismatch"),
        ([FILE, END], {"content_digest": "sha-256=:!:"}, 400, "digest_mismatch"),
        ([part("name", b"n"), END], {}, 422, "invalid_request"),
        ([FILE, part("file", b"", "b.csv"), END], {}, 422, "invalid_request"),
        ([FILE, part("name", b"", "b.csv"), END], {}, 422, "invalid_request"),
        ([part("file", b"rows"), END], {}, 422, "invalid_request"),
        ([part("name", b"a"), part("name", b"b"), FILE, END], {}, 422, "invalid_request"),
        ([part("name", b"a" * (MAX_FIELD_BYTES + 1)), FILE, END], {}, 422, "invalid_request"),
        ([part("name", b"\xff"), FILE, END], {}, 400, "malformed_multipart"),
        ([part("name", b"a\0b"), FILE, END], {}, 400, "malformed_multipart"),
        ([part("n" * 256, b""), FILE, END], {}, 400, "malformed_multipart"),
        ([*[part(f"f{i}", b"") for i in range(21)], FILE, END], {}, 400, "malformed_multipart"),
        ([b"--frontier\r\n\r\nno headers\r\n", END], {}, 400, "malformed_multipart"),
        ([b"--frontier\r\n" + b"a: b\r\n" * 20 + b"\r\nx\r\n", END], {}, 400, "malformed_multipart"),
        ([b"--frontier\r\na: " + b"b" * 10_000 + b"\r\n\r\nx\r\n", END], {}, 400, "malformed_multipart"),
    ],
)
def test_whatever_is_wrong_is_refused_and_leaves_nothing(
    tmp_path: Path, chunks: list[bytes], options: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(GraftworkError) as caught:
        receive(tmp_path, chunks, **options)
    assert (caught.value.status, caught.value.code) == (status, code)


LISTS: dict[str, set[str]] = {"words": set(), "word_or_words": {"string"}, "steps": {"string"}}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("words", "a"), ("words", 'b"')], {"words": ["a", 'b"']}),
        ([("words", "a")], {"words": ["a"]}),
        ([("words", '["a", "b"]')], {"words": ["a", "b"]}),
        ([("words", "a"), ("seed", "7"), ("words", "")], {"words": ["a", ""], "seed": 7}),
        ([("steps", '{"kind": "a"}')], {"steps": [{"kind": "a"}]}),
        ([("steps", '{"kind": "a"}'), ("steps", '{"kind": "b"}')], {"steps": [{"kind": "a"}, {"kind": "b"}]}),
        ([("word_or_words", "a"), ("word_or_words", "1")], {"word_or_words": ["a", "1"]}),
    ],
)
def test_a_list_may_come_as_a_part_for_each_item(
    tmp_path: Path, parts: list[tuple[str, str]], expected: dict[str, Any]
) -> None:
    chunks = [*(part(name, text.encode()) for name, text in parts), FILE, END]
    form, _ = receive(tmp_path, chunks, lists=LISTS)
    assert {name: json.loads(text) for name, text in form.fields.items()} == expected


def test_a_text_stays_one_where_it_may_be_a_list_or_is_empty(tmp_path: Path) -> None:
    texts = {"word_or_words": "a", "words": " "}
    form, _ = receive(tmp_path, [*(part(name, text.encode()) for name, text in texts.items()), FILE, END], lists=LISTS)
    assert form.fields == texts


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([part("words", b"a"), part("seed", b"1"), part("seed", b"2")], "seed: this field stands twice"),
        ([part("words", b"a")] * 1001, "words: a list has at most 1000 parts"),
        ([part("words", b"a" * (MAX_FIELD_BYTES // 2 + 1))] * 2, "words: a field has at most"),
    ],
)
def test_a_list_of_parts_has_bounds(tmp_path: Path, chunks: list[bytes], words: str) -> None:
    with pytest.raises(GraftworkError, match=words):
        receive(tmp_path, [*chunks, FILE, END], lists=LISTS)


def test_a_wrong_length_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(GraftworkError) as caught:
        receive(tmp_path, [b"never looked at"], limit=10, content_length="9" * 5000)
    assert caught.value.code == "too_large"


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150)
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, noise: bytes, inside: bool) -> None:
    body = FILE[:20] + noise + FILE[20:] + END if inside else noise
    assert status_of(tmp_path_factory.getbasetemp() / "noise", body) in {200, 400, 422}


def status_of(folder: Path, body: bytes) -> int:
    try:
        receive(folder, [body])
    except GraftworkError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "../../etc/passwd"),
        ("a\0b\r\nc.csv", "abc.csv"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("🦔.csv", "🦔.csv"),
        ("x" * 5000, "x" * 255),
        ("\u200b", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_filename_is_text_to_show(name: str, shown: str) -> None:
    assert display_name(name) == shown
