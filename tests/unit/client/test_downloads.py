"""Files are whole or not there, and a broken download goes on."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from graftwork import DamagedError
from tests.support.handlers import Connect


def test_a_download_is_whole_or_not_there(connect: Connect, tmp_path: Path) -> None:
    content = b"weights"
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    graftwork, _ = connect(lambda _: httpx.Response(200, content=content, headers={"etag": tag}))
    assert graftwork.models.download("m", "x", tmp_path / "x").read_bytes() == content
    graftwork, _ = connect(lambda _: httpx.Response(200, content=b"weighty", headers={"etag": tag}))
    with pytest.raises(DamagedError):
        graftwork.models.download("m", "y", tmp_path / "y")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose connection breaks after so many bytes."""

    def __init__(self, content: bytes, after: int) -> None:
        self._content, self._after = content, after

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._after]
        if self._after < len(self._content):
            msg = "broken"
            raise httpx.ReadError(msg)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


@pytest.mark.parametrize("changes", [False, True])
def test_a_broken_download_goes_on_after_the_bytes_that_have_come(
    connect: Connect, tmp_path: Path, *, changes: bool
) -> None:
    """The connection breaks every ten bytes; where the file changes meanwhile, it is read from its beginning."""
    contents, asked = [bytes(range(64)), bytes(range(64, 128))], []

    def service(request: httpx.Request) -> httpx.Response:
        content = contents[len(asked) > 2 if changes else 0]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        unchanged = request.headers.get("if-range") == tag
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-")) if unchanged else 0
        asked.append(start)
        headers = {"etag": tag, "content-range": f"bytes {start}-63/64"} if start else {"etag": tag}
        return httpx.Response(206 if start else 200, headers=headers, stream=Breaking(content[start:], 10))

    graftwork, _ = connect(service)
    file = graftwork.models.download("m", "x", tmp_path / "x")
    assert file.read_bytes() == contents[changes]
    assert asked == ([0, 10, 20, 0, 10, 20, 30, 40, 50, 60] if changes else [0, 10, 20, 30, 40, 50, 60])
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("lie", ["bytes 3-63/64", "bytes */64", ""])
def test_a_part_that_was_not_asked_for_is_no_rest(connect: Connect, tmp_path: Path, lie: str) -> None:
    content = bytes(range(64))
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    whole = httpx.Response(200, headers={"etag": tag}, stream=Breaking(content, 10))
    part = httpx.Response(206, headers={"etag": tag, "content-range": lie}, stream=Breaking(content[10:], 64))
    answers = iter([whole, part])
    graftwork, _ = connect(lambda _: next(answers))
    with pytest.raises(DamagedError):
        graftwork.models.download("m", "x", tmp_path / "x")
    assert [*tmp_path.iterdir()] == []
