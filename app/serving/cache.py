"""A thread-safe cache whose values expire."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TLRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ExpiringCache(Generic[Key, Value]):
    """Caches looked-up values for `seconds`, counted from the start of the look-up; at most `size` of them.

    The result of a look-up that began before `clear` is not cached.
    """

    def __init__(self, seconds: float, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        # A value is stored with the time at which its look-up began.
        self._entries: TLRUCache[Key, tuple[float, Value]] = TLRUCache(
            size, ttu=lambda _, entry, __: entry[0] + seconds, timer=clock
        )
        self.generation = 0  # number of calls of `clear`: what was made from values before is out of date
        self._lock = threading.Lock()

    def get(self, key: Key, look_up: Callable[[], Value]) -> Value:
        """Return the cached value of `key`, or else what `look_up` returns; an exception of it is not cached."""
        with self._lock:
            started_at, generation = self.clock(), self.generation
            entry = self._entries.get(key)
        if entry is not None:
            return entry[1]
        value = look_up()  # outside the lock: it may take long
        with self._lock:
            if generation == self.generation:
                self._entries[key] = (started_at, value)
        return value

    def peek(self, key: Key) -> Value | None:
        """Return the cached value of `key`, None without one."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self.generation += 1
            self._entries.clear()
