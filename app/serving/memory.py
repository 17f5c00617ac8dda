"""What a process remembers for a short while."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TLRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ShortMemory(Generic[Key, Value]):
    """Values that are true for `seconds` after they were looked up.

    A value counts from before its look-up began, and one whose look-up began before `forget` is not kept.
    """

    def __init__(self, seconds: float, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: TLRUCache[Key, tuple[float, Value]] = TLRUCache(
            size, ttu=lambda _, entry, __: entry[0] + seconds, timer=clock
        )
        self._generation = 0
        self._lock = threading.Lock()

    def get(self, key: Key, look_up: Callable[[], Value]) -> Value:
        """Return what is remembered, or else what `look_up` returns; what it raises is not remembered."""
        with self._lock:
            began, generation = self._clock(), self._generation
            known = self._known.get(key)
        if known is not None:
            return known[1]
        value = look_up()
        with self._lock:
            if generation == self._generation:
                self._known[key] = (began, value)
        return value

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._generation += 1
            self._known.clear()
