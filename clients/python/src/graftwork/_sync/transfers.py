"""Files on their way: what is downloaded, whole or not at all."""

from pathlib import Path

import httpx

from graftwork._sync.transport import Transport
from graftwork.errors import DamagedError, GraftworkApiError
from graftwork.partial_file import PartialFile


def download(transport: Transport, target: Path | str, route: str, *parts: str) -> Path:
    """Write a file of the service to `target`; where the connection breaks, go on after the bytes that have come.

    Raises:
        DamagedError: the bytes do not match their announced digest; no file is left then.
    """
    target = Path(target)
    partial = PartialFile(target.with_name(f".{target.name}.part"))
    retries = transport.retries()
    try:
        while True:
            size = partial.size
            try:
                with transport.stream(route, *parts, headers=partial.headers()) as response:
                    with partial.open(response) as file:
                        for chunk in response.iter_bytes():
                            file.write(chunk)
                            partial.add(chunk)
            except (httpx.TransportError, GraftworkApiError) as error:
                if partial.is_whole():  # it broke after the last byte
                    break
                if partial.size > size:
                    retries.succeeded()
                transport.sleep(retries.pause_after(error))
            else:
                break
        if not partial.is_whole():
            msg = f"{target.name} came damaged; download it again."
            raise DamagedError(msg)
        return partial.path.replace(target)
    finally:
        partial.path.unlink(missing_ok=True)
