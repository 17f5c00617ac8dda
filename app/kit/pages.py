"""Pagination: `limit`, `after` and `order` of a request; `data`, `has_more`, `first_id` and `last_id` of an answer."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import Select, asc, desc
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.kit.ids import ID_PATTERN


class Page(BaseModel):
    """The part of a list that a request asks for."""

    limit: int
    after: str | None
    order: Literal["asc", "desc"]


def _page(
    limit: Annotated[int, Query(ge=1, le=200, description="Entries in one page.")] = 20,
    after: Annotated[
        str | None, Query(max_length=64, pattern=ID_PATTERN, description="The last id of the page before.")
    ] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
) -> Page:
    return Page(limit=limit, after=after, order=order)


PageQuery = Annotated[Page, Depends(_page)]
View = Literal["summary", "full"]
ViewQuery = Annotated[
    View, Query(description="summary leaves out what may be large; full lists the objects as each is answered alone.")
]


class Identified(Protocol):
    """An answer with an id."""

    @property
    def id(self) -> str:
        """Its identifier."""


T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")


class Listing(BaseModel, Generic[T]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


def fetch_page(
    session: Session, query: Select[R], id_column: InstrumentedAttribute[str], page: Page
) -> tuple[list[R], bool]:
    """Return the rows of one page and whether more follow; ids sort by time of creation."""
    if page.after is not None:
        query = query.where(id_column < page.after if page.order == "desc" else id_column > page.after)
    direction = desc if page.order == "desc" else asc
    rows = list(session.scalars(query.order_by(direction(id_column)).limit(page.limit + 1)))
    return rows[: page.limit], len(rows) > page.limit


def summary_of(item: BaseModel, kind: type[T]) -> T:
    """Return the fields of an answer that its summary has, too."""
    return kind(**{name: getattr(item, name) for name in kind.model_fields})


def listing(data: Sequence[Identified], *, has_more: bool) -> dict[str, Any]:
    """Build the fields of a `Listing`."""
    return {
        "data": data,
        "has_more": has_more,
        "first_id": data[0].id if data else None,
        "last_id": data[-1].id if data else None,
    }
