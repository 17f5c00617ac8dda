"""Logs of every process: lines for people, or one JSON object a line, with what they belong to.

What is under way (a request, a job) is bound to the context, which the threads of the
thread pool that work for it take over.
"""

import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_bound: ContextVar[dict[str, str]] = ContextVar("bound", default={})  # noqa: B039 - never changed, only replaced
trace: ContextVar[str | None] = ContextVar("trace", default=None)


@contextmanager
def bound(**values: str) -> Iterator[None]:
    """Add names and values to every line that is logged inside."""
    token = _bound.set({**_bound.get(), **values})
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def traced(traceparent: str | None) -> Iterator[None]:
    """Let what happens inside belong to a trace, as W3C's Trace Context writes it; a new one where none is given."""
    parent = traceparent if traceparent and _TRACE.fullmatch(traceparent) else _new_trace()
    token = trace.set(parent)
    try:
        with bound(trace_id=parent.split("-")[1]):
            yield
    finally:
        trace.reset(token)


def _new_trace() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        context = " ".join(f"{name}={value}" for name, value in _bound.get().items())
        return f"{line} [{context}]" if context else line


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One object a line."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(process: str) -> None:
    """Let everything that this process logs go to standard error, as GRAFTWORK_LOG_FORMAT says: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = os.environ.get("GRAFTWORK_LOG_FORMAT", "text") == "json"
    text = f"%(asctime)s %(levelname)s {process} %(process)d %(name)s %(message)s"
    handler.setFormatter(_Json(process) if as_json else _Text(text))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
