"""Conditions of a request on what it changes: If-Match and If-None-Match (RFC 9110, section 13)."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from app.errors import PreconditionFailedError


@dataclass(frozen=True, slots=True)
class Conditions:
    """The ETags that the thing must have, and must not have, for the request to be done."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, etag: str | None) -> None:
        """Raise PreconditionFailedError where a thing of this ETag, None if there is none, is not to be changed."""
        if self.if_match is not None and not _names(self.if_match, etag):
            state = f"it now has the ETag {etag}" if etag else "there is none"
            msg = f"It has changed since you read it: {state}. Read it again, and decide anew."
            raise PreconditionFailedError(msg)
        if self.if_none_match is not None and _names(self.if_none_match, etag):
            msg = f"It exists, with the ETag {etag}."
            raise PreconditionFailedError(msg)


def etag_of(revision: int) -> str:
    """Return the ETag of a revision."""
    return f'"{revision}"'


def _names(header: str, etag: str | None) -> bool:
    """Whether a list of ETags, or * for any, names this one; weak ones name nothing."""
    return etag is not None and (header.strip() == "*" or etag in (entry.strip() for entry in header.split(",")))


def _conditions(
    if_match: Annotated[
        str | None, Header(max_length=1000, description="Only if it still has this ETag; 412 otherwise.")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(max_length=1000, description="`*`: only if there is none yet; 412 otherwise.")
    ] = None,
) -> Conditions:
    return Conditions(if_match, if_none_match)


ConditionHeaders = Annotated[Conditions, Depends(_conditions)]
