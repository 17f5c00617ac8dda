"""The filters of the list of jobs, as query parameters."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query

from app.errors import ErrorItem, UnprocessableError
from app.jobs.kinds import Kind
from app.jobs.repository import JobFilters
from app.jobs.states import Status
from app.kit.ids import ID_PATTERN
from app.models.refs import MAX_REF

MAX_NAME = 200
_MAX_PAIR = 1201  # a key of 200 characters, a colon, and a value of 1000
_MAX_PAIRS = 16


def _filters(  # noqa: PLR0913, PLR0917 - each is a query parameter
    kind: Kind | None = None,
    status: Status | None = None,
    name: Annotated[str | None, Query(max_length=MAX_NAME, description="Only jobs of this name.")] = None,
    sweep: Annotated[
        str | None, Query(max_length=64, pattern=ID_PATTERN, description="Only the trials of this sweep.")
    ] = None,
    model: Annotated[
        str | None, Query(max_length=MAX_REF, description="Only what starts from this model, or measures it.")
    ] = None,
    dataset: Annotated[
        str | None,
        Query(max_length=MAX_NAME, description="Only jobs on this dataset, or on any dataset of this name."),
    ] = None,
    metadata: Annotated[
        list[Annotated[str, Query(max_length=_MAX_PAIR)]] | None,
        Query(max_length=_MAX_PAIRS, description="Only jobs with this entry, as key:value; give several for all."),
    ] = None,
    created_after: Annotated[
        datetime | None, Query(description="Only jobs created at or after this time (ISO 8601; UTC without a zone).")
    ] = None,
    created_before: Annotated[datetime | None, Query(description="Only jobs created before this time.")] = None,
) -> JobFilters:
    return JobFilters(
        columns={"kind": kind, "status": status, "name": name, "sweep_id": sweep},
        model=model,
        dataset=dataset,
        metadata=_checked(metadata or []),
        created_after=_in_utc(created_after),
        created_before=_in_utc(created_before),
    )


JobFilterQuery = Annotated[JobFilters, Depends(_filters)]


def _checked(pairs: list[str]) -> tuple[str, ...]:
    """Return entries of metadata. Raises UnprocessableError where one has no key, or a key has two values."""
    values: dict[str, str] = {}
    for pair in pairs:
        key, colon, value = pair.partition(":")
        if not (key and colon) or values.get(key, value) != value:
            msg = "give each key once, its value behind a colon, as in metadata=team:vision"
            detail = f"metadata: {msg}"
            raise UnprocessableError(detail, errors=[ErrorItem(loc=["query", "metadata"], msg=msg)])
        values[key] = value
    return tuple(pairs)


def _in_utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
