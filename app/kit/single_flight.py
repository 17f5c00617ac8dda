"""Blocking calls in threads, shared: who asks for what is being fetched already waits for that."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

Value = TypeVar("Value")


class SingleFlight:
    """Runs at most one call for each key at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, call: Callable[[], Value]) -> Value:
        """Return or raise what `call` does, or what the call for the same key does that runs already."""
        task = self._calls.get(key)
        if task is None:
            task = self._calls[key] = asyncio.ensure_future(run_in_threadpool(call))
            task.add_done_callback(lambda _: self._calls.pop(key))
        return await asyncio.shield(task)  # one that gives up does not end it for the others
