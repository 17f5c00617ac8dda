"""A server that ends when it hangs, so that another is started in its place."""

import faulthandler
from collections.abc import Callable
from typing import Any

import uvicorn

_TICKS = 10  # of uvicorn's main loop, which has ten a second


class WatchedServer(uvicorn.Server):
    """Uvicorn's server, which ends the process after `seconds` without progress and prints where its threads are.

    Progress is a turn of the event loop while no computation, of which `computing` tells the seconds, takes that long.
    The clock is in C and needs no lock of the interpreter: it runs down even where a computation holds all else up.
    """

    def __init__(self, config: uvicorn.Config, seconds: float, computing: Callable[[], float]) -> None:
        super().__init__(config)
        self._seconds = seconds
        self._computing = computing

    async def on_tick(self, counter: int) -> bool:
        """Wind up the clock once a second."""
        if counter == 0 or (counter % _TICKS == 0 and self._computing() < self._seconds):
            faulthandler.dump_traceback_later(self._seconds, exit=True)
        return await super().on_tick(counter)

    async def shutdown(self, *arguments: Any, **options: Any) -> None:
        """Stop the clock, and shut down."""
        faulthandler.cancel_dump_traceback_later()
        await super().shutdown(*arguments, **options)
