"""Files on their way: what is uploaded as a form, and what is downloaded, whole or not at all."""

import hashlib
from pathlib import Path

import httpx

from graftwork._async.transport import AsyncTransport
from graftwork.errors import DamagedError, GraftworkApiError


async def download(transport: AsyncTransport, target: Path | str, route: str, *parts: str) -> Path:
    """Write a file of the service to `target`.

    Raises:
        DamagedError: the bytes do not match their announced digest; no file is left then.
    """
    target = Path(target)
    scratch = target.with_name(f".{target.name}.part")
    retries = transport.retries()
    try:
        while True:
            try:
                await _receive(transport, scratch, route, *parts)
                return scratch.replace(target)
            except (httpx.TransportError, GraftworkApiError) as error:
                await transport.sleep(retries.pause_after(error))
    finally:
        scratch.unlink(missing_ok=True)


async def _receive(transport: AsyncTransport, target: Path, route: str, *parts: str) -> None:
    digest = hashlib.sha256()
    async with transport.stream(route, *parts) as response:
        with target.open("wb") as file:
            async for chunk in response.aiter_bytes():
                digest.update(chunk)
                file.write(chunk)
    if response.headers.get("etag") != f'"{digest.hexdigest()}"':
        msg = f"{response.url.path} came damaged; download it again."
        raise DamagedError(msg)
