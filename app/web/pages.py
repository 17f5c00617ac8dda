"""Serves the files of the page from memory. None of them needs a key: they hold nothing of any project.

The address of a file holds the digest of all files, so that a browser may keep each for good, and never mixes those of
two releases. All addresses in the page are relative, so that it works behind a path prefix.
"""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.errors import NotFoundError
from app.kit.downloads import entity_tag, is_current, not_modified

STATIC = Path(__file__).with_name("static")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing of another host is loaded, asked or embeds the page, and no text becomes HTML or a script.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_DIGEST_CHARACTERS = 16
_GUIDE = b'<link rel="help" href="guide/">'


def routes(*, docs: bool, has_guide: Callable[[], bool]) -> list[BaseRoute]:
    """Return the routes of the page and of its files, which are read once; `docs`: the API's description, too.

    `has_guide` says whether the guide is built by now: the page leads to it then.
    """
    files = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in sorted(STATIC.rglob("*.*"))}
    version = hashlib.sha256(repr(files).encode()).hexdigest()[:_DIGEST_CHARACTERS]
    template = _index(files.pop("index.html"), version, list(files))
    compressed = {name: gzip.compress(content, mtime=0) for name, content in files.items()}

    async def page(request: Request) -> Response:
        """Return the page; a browser asks each time whether it is still the same."""
        index = template.replace(b"<!-- guide -->", _GUIDE if has_guide() else b"")
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": entity_tag(index)}
        answer = Response(index, media_type=_MEDIA_TYPES[".html"], headers=headers)
        return not_modified(answer.headers) if is_current(request, headers["ETag"]) else answer

    async def file(request: Request) -> Response:
        """Return a file of the page. Raises NotFoundError, also for a file of another release."""
        release, *parts = request.path_params.values()
        name = "/".join(parts)
        if release != version or name not in files:
            msg = "There is no such file of the page: load the page again."
            raise NotFoundError(msg)
        headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        media_type = _MEDIA_TYPES[PurePosixPath(name).suffix]
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(files[name], media_type=media_type, headers=headers)
        return Response(compressed[name], media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})

    pages = ["/", "/docs"] if docs else ["/"]  # the same page, which begins with another view
    addresses = ["/page/{version}/{name}", "/page/{version}/{folder}/{name}"]
    return [*(Route(path, page) for path in pages), *(Route(path, file) for path in addresses)]


def _index(template: bytes, version: str, names: list[str]) -> bytes:
    """Return the page with the addresses of its files; all modules are named, so that they load at the same time."""
    modules = (name for name in names if name.endswith(".js") and f"/{name}".encode() not in template)
    links = "\n".join(f'<link rel="modulepreload" href="page/{version}/{name}">' for name in modules)
    return template.replace(b"<!-- modules -->", links.encode()).replace(b"VERSION", version.encode())
