"""The asynchronous client behind the methods of the synchronous one, so that one suite of tests runs with both."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Self, TypeVar

from graftwork import AsyncGraftwork

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own: a coroutine that it runs is waited for by its caller."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def each(self, entries: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self.run(anext(entries))  # type: ignore[arg-type]
            except StopAsyncIteration:
                return

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """An object of the asynchronous client whose methods wait for what they return."""

    def __init__(self, inner: Any, loop: Loop) -> None:
        self._inner, self._blocking_loop = inner, loop

    def __getattr__(self, name: str) -> Any:
        return self._outside(getattr(self._inner, name))

    def __getitem__(self, name: str) -> Any:
        return self._inner[name]

    def __contains__(self, name: str) -> bool:
        return name in self._inner

    def __eq__(self, other: object) -> bool:
        return bool(self._inner == other)

    __hash__ = None  # type: ignore[assignment]

    def _outside(self, value: Any) -> Any:
        """A coroutine's result, an asynchronous iterator's entries, and the same of what they lead to."""
        if inspect.iscoroutine(value):
            return self._outside(self._blocking_loop.run(value))
        if inspect.isasyncgen(value):
            return map(self._outside, self._blocking_loop.each(value))
        if inspect.ismethod(value):
            return lambda *arguments, **options: self._outside(value(*arguments, **options))
        leads_on = type(value).__module__.startswith("graftwork._async")
        return Blocking(value, self._blocking_loop) if leads_on else value


class BlockingGraftwork(Blocking):
    """`Graftwork` by way of `AsyncGraftwork`; it is made where it runs, as httpx wants it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        loop = Loop()

        async def make() -> AsyncGraftwork:
            return AsyncGraftwork(*arguments, **options)

        super().__init__(loop.run(make()), loop)

    def close(self) -> None:
        self._blocking_loop.run(self._inner.aclose())
        self._blocking_loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
