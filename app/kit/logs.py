"""Logging of every process, as text or as one JSON object a line, with context such as a request or job id.

The context is kept in context variables, which thread pools pass on to the threads that work for a request.
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
    """Add these names and values to every log line inside the block."""
    token = _bound.set({**_bound.get(), **values})
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def traced(traceparent: str | None) -> Iterator[None]:
    """Make the block part of a trace (W3C Trace Context); of a new one if `traceparent` is missing or malformed."""
    if not traceparent or not _TRACE.fullmatch(traceparent):
        traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    token = trace.set(traceparent)
    try:
        with bound(trace_id=traceparent.split("-")[1]):
            yield
    finally:
        trace.reset(token)


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
        """Render a record, its context and its traceback as one JSON object."""
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
    """Log to standard error in the format GRAFTWORK_LOG_FORMAT, text or json; `process` is this process's name."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = os.environ.get("GRAFTWORK_LOG_FORMAT", "text") == "json"
    text = f"%(asctime)s %(levelname)s {process} %(process)d %(name)s %(message)s"
    handler.setFormatter(_Json(process) if as_json else _Text(text))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
