"""Generates src/graftwork/_sync from src/graftwork/_async: the same code, token by token, without waiting.

Run `python clients/python/generate_sync.py` after a change of `_async`.
"""

import io
import subprocess
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parent / "src" / "graftwork"
SOURCE, TARGET = PACKAGE / "_async", PACKAGE / "_sync"

NAMES = {
    "AsyncIterator": "Iterator",
    "AsyncClient": "Client",
    "AsyncBaseTransport": "BaseTransport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aread": "read",
    "aiter_bytes": "iter_bytes",
    "aiter_sse": "iter_sse",
    "asynccontextmanager": "contextmanager",
    "asyncio": "time",
    "_async": "_sync",
}
TEXTS = {
    '"""The asynchronous client; `_sync` is generated from this folder by generate_sync.py."""': (
        '"""The synchronous client, generated from `_async` by generate_sync.py."""'
    ),
}
DROPPED = {"async", "await"}


def without_waiting(source: str) -> str:
    """Return source without async and await; `AsyncJobs` becomes `Jobs`, `Awaitable[object]` its `object`."""
    source = source.replace("Awaitable[object]", "object").replace("AsyncIterator, Awaitable, ", "AsyncIterator, ")
    lines = source.splitlines(keepends=True)
    for token in reversed([*tokenize.generate_tokens(io.StringIO(source).readline)]):
        if token.string in TEXTS:
            lines[token.start[0] - 1] = TEXTS[token.string] + "\n"
        elif token.type == tokenize.NAME:
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            if token.string in DROPPED:
                lines[row - 1] = line[:start] + line[end:].removeprefix(" ")
            else:
                lines[row - 1] = line[:start] + _sync_name(token.string) + line[end:]
    return "".join(lines)


def generated() -> dict[Path, str]:
    """Return the text of each file of `_sync`."""
    return {
        TARGET / path.name: formatted(without_waiting(path.read_text(encoding="utf-8")), TARGET / path.name)
        for path in sorted(SOURCE.glob("*.py"))
    }


def formatted(source: str, path: Path) -> str:
    """Return source as ruff writes it: lines have become shorter, and imports other ones."""
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    for command in (["check", "--fix-only", "--quiet", "--select=I"], ["format", "--quiet"]):
        line = [*ruff, *command, "--stdin-filename", str(path), "-"]
        source = subprocess.run(line, input=source, capture_output=True, text=True, check=True).stdout
    return source


def _sync_name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    return name.removeprefix("Async") if name.startswith("Async") else name


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    for stale in set(TARGET.glob("*.py")) - set(generated()):
        stale.unlink()
