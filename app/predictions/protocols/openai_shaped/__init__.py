"""Embeddings and completions in OpenAI's shape, so that its clients ask our models."""

from typing import Any

from app.errors import ErrorShape, Problem
from app.predictions.protocols.openai_shaped import endpoints
from app.predictions.protocols.openai_shaped.errors import body_of
from app.predictions.protocols.protocol import Protocol

_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": _TEXT, "code": _TEXT},
        }
    },
}


def _write(problem: Problem) -> dict[str, Any]:
    return body_of(problem)


PROTOCOL = Protocol(prefix="/openai/", routers=(endpoints.router,), error=ErrorShape(_write, _SCHEMA))
