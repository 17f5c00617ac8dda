"""How long a request for predictions may take: what it says by `timeout`, or the service's default.

The time counts from the request's arrival, which whoever sees it first notes in its scope. Computing goes on in blocks
of rows, and between two of them ends where the time is up, or where nobody waits any more.
"""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Query, Request
from starlette.types import Scope

from app.dependencies import State
from app.errors import BadRequestError, DeadlineError
from app.kit.hang_ups import has_hung_up
from app.predictions.schemas import MAX_SECONDS

Answer = TypeVar("Answer")

TimeoutQuery = Annotated[
    float | None,
    Query(
        gt=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="Seconds that the answer may take: then 504, and texts that are being continued end as they are. "
        "By default GRAFTWORK_PREDICTION_SECONDS.",
    ),
]


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an answer is of no more use."""

    arrived: float  # of time.monotonic()
    seconds: float
    is_nobody_waiting: Callable[[], bool]

    def check(self) -> None:
        """Raise DeadlineError where the time is up, and BadRequestError where the client is gone."""
        if self.remaining() <= 0:
            msg = f"The answer was not ready within {self.seconds:g} s: send fewer rows, or a longer `timeout`."
            raise DeadlineError(msg)
        if self.is_nobody_waiting():
            msg = "The client hung up before its answer was ready."
            raise BadRequestError(msg, code="aborted")

    def remaining(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self.arrived + self.seconds - time.monotonic())


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


async def limited(request: Request, state: State, timeout: TimeoutQuery = None) -> None:  # noqa: ASYNC109 - the query's name
    """Let the answer to a request take so long: a dependency, which the threads of the request then know of."""
    seconds = timeout or state.settings.prediction_seconds
    _current.set(Deadline(arrival(request.scope), seconds, partial(_is_over, weakref.ref(request))))


def _is_over(request: weakref.ref[Request]) -> bool:
    """Whether a request is answered, or its client is gone.

    The timer of an idle connection keeps the context of its last request, and would keep the body by it.
    """
    asking = request()
    return asking is None or has_hung_up(asking)


def arrival(scope: Scope) -> float:
    """Return when a request arrived, by time.monotonic(): now, where this is asked for the first time."""
    arrived: float = scope["state"].setdefault("arrived", time.monotonic())
    return arrived


async def in_time(scope: Scope, seconds: float, answer: Awaitable[Answer]) -> Answer:
    """Return an answer of the short way, or cancel it once the request has taken so many seconds.

    Raises:
        TimeoutError: the time is up; the endpoint, to which the request is left then, says so.
    """
    async with asyncio.timeout(arrival(scope) + seconds - time.monotonic()):
        return await answer


def allow(seconds: float | None) -> None:
    """Let the answer to the request at hand take so long, where its body says so."""
    deadline = _current.get()
    if seconds is not None and deadline is not None:
        _current.set(replace(deadline, seconds=seconds))


def check_deadline() -> None:
    """Raise as `Deadline.check` of the request that is being answered; nothing where it has none."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


def remaining(at_most: float) -> float:
    """Return the seconds that are left to the request that is being answered, or so many."""
    deadline = _current.get()
    return at_most if deadline is None else min(at_most, deadline.remaining())
