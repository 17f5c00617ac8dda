"""Serves the guide, which `make guide` builds out of docs/. It needs no key: it holds nothing of any project.

A page holds a few short scripts. Its Content-Security-Policy names their digests, so that no other script runs in it.
Style elements are allowed: the search box writes one into its shadow root.
"""

import base64
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from app.errors import NotFoundError
from app.kit.downloads import entity_tag, is_current, not_modified

_FIRST = "start.html"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
}
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def is_built(folder: Path) -> bool:
    """Return whether there is a guide in a folder."""
    return (folder / _FIRST).is_file()


def routes(folder: Path) -> list[BaseRoute]:
    """Return the routes of the guide that was, or will be, built into a folder."""

    def first_page(_: Request) -> Response:
        """Lead to the first page, relative to where a proxy serves it."""
        return RedirectResponse(f"guide/{_FIRST}")

    def file(request: Request) -> Response:
        """Return a file of the guide. Raises NotFoundError, also where no guide was built."""
        path = folder.joinpath(*(request.path_params.values() or [_FIRST])).resolve()
        is_inside = path.is_relative_to(folder.resolve())
        if not is_inside or path.suffix not in _MEDIA_TYPES or not path.is_file():
            raise NotFoundError(_reason(folder))
        content = path.read_bytes()
        headers = {"Cache-Control": "no-cache", "ETag": entity_tag(content), "Referrer-Policy": "no-referrer"}
        headers["Content-Security-Policy"] = _policy(content if path.suffix == ".html" else b"")
        answer = Response(content, media_type=_MEDIA_TYPES[path.suffix], headers=headers)
        return not_modified(answer.headers) if is_current(request, headers["ETag"]) else answer

    addresses = ("", "{name}", "{folder}/{name}", "{folder}/{inner}/{name}", "{folder}/{inner}/{innermost}/{name}")
    return [Route("/guide", first_page), *(Route(f"/guide/{address}", file) for address in addresses)]


def _policy(page: bytes) -> str:
    """Return the policy of a page: nothing of another host, and of the scripts in it those that were built."""
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page))
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {scripts}; worker-src 'self'; style-src-elem 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def _reason(folder: Path) -> str:
    if not is_built(folder):
        return (
            "The guide was not built on this machine: `make guide` builds it, and GRAFTWORK_GUIDE names another folder "
            "that holds it. Its pages are the Markdown files of docs/, too."
        )
    return f"The guide has no such page; it begins at /guide/{_FIRST}."
