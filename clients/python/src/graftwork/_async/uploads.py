"""The resource /v1/uploads: files that are sent in parts."""

from collections.abc import AsyncIterator
from typing import IO, Any, Unpack

from graftwork import answers, requests
from graftwork._async.transport import UPLOAD_SECONDS, AsyncTransport
from graftwork.uploads import PART_BYTES, Source, content_digest, digest_of, open_file, pieces


class AsyncUploads:
    """Sends files in parts, and goes on where one broke: /v1/uploads."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def send(
        self, source: Source, *, filename: str | None = None, part_bytes: int = PART_BYTES
    ) -> answers.Upload:
        """Send a file in parts of `part_bytes`, and return the complete upload, of which a dataset can be made.

        An open upload of the same file goes on: parts that are there already are not sent again.
        """
        with open_file(source, filename) as (file, name):
            sha256, size = digest_of(file)
            upload = await self._upload_of(name, sha256, size, part_bytes)
            await self._send_parts(upload, file, min(part_bytes, upload["max_part_bytes"]))
        return await self.complete(upload["id"])

    async def _upload_of(self, name: str, sha256: str, size: int, part_bytes: int) -> answers.Upload:
        """Return the newest open upload of a file that has no part too many; else a new one."""
        async for upload in self.list(status="open", sha256=sha256):
            count = -(-size // min(part_bytes, upload["max_part_bytes"]))
            if all(part["number"] <= count for part in upload["parts"]):
                return upload
        return await self.create(name, bytes=size, sha256=sha256)

    async def _send_parts(self, upload: answers.Upload, file: IO[bytes], part_bytes: int) -> None:
        here = {part["number"]: part["sha256"] for part in upload["parts"]}
        for number, (content, sha256) in enumerate(pieces(file, part_bytes), 1):
            if here.get(number) != sha256:
                await self.put_part(upload["id"], number, content)

    async def create(
        self,
        filename: str,
        *,
        bytes: int | None = None,  # noqa: A002 - its name
        sha256: str | None = None,
    ) -> answers.Upload:
        """Begin an upload; `bytes` and `sha256`, in hexadecimal, are those of the whole file."""
        body = {"filename": filename, "bytes": bytes, "sha256": sha256}
        return await self._transport.create(answers.Upload, "POST /v1/uploads", json=body)

    async def put_part(self, upload_id: str, number: int, content: bytes) -> answers.Part:
        """Send the part of this number, from 1 on, in place of an earlier one; its digest is checked on arrival."""
        route = "PUT /v1/uploads/{upload_id}/parts/{number}"
        headers = {"Content-Type": "application/octet-stream", "Content-Digest": content_digest(content)}
        options: dict[str, Any] = {"content": content, "headers": headers, "seconds": UPLOAD_SECONDS}
        return await self._transport.ask(answers.Part, route, upload_id, str(number), **options)

    async def complete(self, upload_id: str, *, sha256: str | None = None) -> answers.Upload:
        """Put the parts together; of a complete upload nothing is changed."""
        route = "POST /v1/uploads/{upload_id}/complete"
        body = {"sha256": sha256}
        return await self._transport.ask(answers.Upload, route, upload_id, json=body, seconds=UPLOAD_SECONDS)

    async def get(self, upload_id: str) -> answers.Upload:
        """Return an upload: which parts of it are there."""
        return await self._transport.ask(answers.Upload, "GET /v1/uploads/{upload_id}", upload_id)

    async def list(self, **filters: Unpack[requests.UploadFilters]) -> AsyncIterator[answers.Upload]:
        """Yield the uploads, newest first."""
        async for upload in self._transport.items(answers.Upload, "GET /v1/uploads", filters):
            yield upload

    async def delete(self, upload_id: str) -> None:
        """Delete an upload and its parts; datasets that were made from it stay."""
        await self._transport.send("DELETE /v1/uploads/{upload_id}", upload_id)
