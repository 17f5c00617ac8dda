"""The Idempotency-Key header, the fingerprint of a request, and its execution once per key."""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.errors import BadRequestError, UnprocessableError
from app.idempotency import repository

Answer = TypeVar("Answer", bound=BaseModel)
_LATER_FIELDS: dict[str, list[object]] = {"warnings": [], "decisions": []}  # that answers of earlier releases lack
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def _header(
    idempotency_key: Annotated[
        str | None,
        Header(description="1 to 255 visible ASCII characters; repeats with this key get the first response."),
    ] = None,
) -> str | None:
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        msg = "Idempotency-Key has 1 to 255 visible ASCII characters."
        raise BadRequestError(msg, code="invalid_idempotency_key")
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_header)]


def fingerprint(*parts: str) -> str:
    """Return a digest of the parts that identify a request."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def once(
    session: Session, project_id: str, key: str | None, request: str, create: Callable[[], Answer], kind: type[Answer]
) -> Answer:
    """Run `create` and store its result under the key; if the key is known, return the stored result instead.

    Raises:
        UnprocessableError: the key was used with another request.
    """
    if key is None:
        return create()
    row, is_new = repository.reserve(session, project_id, key, request)
    if not is_new:
        return _replay(row, request, kind)
    answer = create()
    row.answer = answer.model_dump(mode="json")
    return answer


def answered(session: Session, project_id: str, key: str | None, request: str, kind: type[Answer]) -> Answer | None:
    """Return the answer that is stored under the key, None where there is none: for work too long for `once`.

    Raises:
        UnprocessableError: the key was used with another request.
    """
    row = None if key is None else repository.find(session, project_id, key)
    return None if row is None else _replay(row, request, kind)


def _replay(earlier: repository.IdempotencyRow, request: str, kind: type[Answer]) -> Answer:
    if earlier.fingerprint != request:
        msg = "This Idempotency-Key was used with another request; take a fresh key."
        raise UnprocessableError(msg, code="idempotency_mismatch")
    return kind.model_validate({**_LATER_FIELDS, **earlier.answer})
