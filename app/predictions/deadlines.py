"""How long a request for predictions may take: what it says by `timeout`, or the service's default.

Computing goes on in blocks of rows, and between two of them ends where the time is up, or where nobody waits any more.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Query, Request

from app.dependencies import State
from app.errors import BadRequestError, DeadlineError
from app.kit.hang_ups import has_hung_up

MAX_SECONDS = 3600

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

    seconds: float
    at: float  # of time.monotonic()
    is_nobody_waiting: Callable[[], bool]

    def check(self) -> None:
        """Raise DeadlineError where the time is up, and BadRequestError where the client is gone."""
        if time.monotonic() > self.at:
            msg = f"The answer was not ready within {self.seconds:g} s: send fewer rows, or a longer `timeout`."
            raise DeadlineError(msg)
        if self.is_nobody_waiting():
            msg = "The client hung up before its answer was ready."
            raise BadRequestError(msg, code="aborted")

    def remaining(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self.at - time.monotonic())


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


async def limited(request: Request, state: State, timeout: TimeoutQuery = None) -> None:  # noqa: ASYNC109 - the query's name
    """Let the answer to a request take so long: a dependency, which the threads of the request then know of."""
    seconds = timeout or state.settings.prediction_seconds
    _current.set(Deadline(seconds, time.monotonic() + seconds, partial(has_hung_up, request)))


def check_deadline() -> None:
    """Raise as `Deadline.check` of the request that is being answered; nothing where it has none."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


def remaining(at_most: float) -> float:
    """Return the seconds that are left to the request that is being answered, or so many."""
    deadline = _current.get()
    return at_most if deadline is None else min(at_most, deadline.remaining())
