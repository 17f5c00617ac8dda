"""`Idempotency-Key` on creating requests: the first answer is kept in the creating transaction and replayed.

The same key with another request is refused. Follows the semantics of the (expired) IETF draft of that name.
"""

import hashlib
import re
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.tables import IdempotencyRow
from app.errors import BadRequestError, UnprocessableError

Answer = TypeVar("Answer", bound=BaseModel)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def _header(
    idempotency_key: Annotated[
        str | None, Header(description="Any string of 1 to 255 visible ASCII characters; repeats get the first answer.")
    ] = None,
) -> str | None:
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        msg = "Idempotency-Key has 1 to 255 visible ASCII characters."
        raise BadRequestError(msg, code="invalid_idempotency_key")
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_header)]


def fingerprint(*parts: str) -> str:
    """Return what tells one request from another."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def once(
    session: Session, project_id: str, key: str | None, request: str, create: Callable[[], Answer], kind: type[Answer]
) -> Answer:
    """Run `create` unless this key was used before; then return its first answer.

    Raises:
        UnprocessableError: the key came with another request before.
    """
    if key is None:
        return create()
    earlier = session.get(IdempotencyRow, (project_id, key))
    if earlier is not None:
        return _replay(earlier, request, kind)
    row = IdempotencyRow(project_id=project_id, key=key, fingerprint=request, answer={}, created_at=time.time())
    try:
        with session.begin_nested():  # waits for another request with this key, and fails once that one is committed
            session.add(row)
    except IntegrityError:
        return _replay(session.get_one(IdempotencyRow, (project_id, key)), request, kind)
    answer = create()
    row.answer = answer.model_dump(mode="json")
    return answer


def _replay(earlier: IdempotencyRow, request: str, kind: type[Answer]) -> Answer:
    if earlier.fingerprint != request:
        msg = "This Idempotency-Key was used with another request; take a fresh key."
        raise UnprocessableError(msg, code="idempotency_mismatch")
    return kind.model_validate(earlier.answer)
