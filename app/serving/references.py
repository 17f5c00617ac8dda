"""What references to models mean, for as long as the registry stays as it was."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import LRUCache

CHECK_SECONDS = 1.0  # for which the registry is taken to be as it was seen last
_MAX_REFERENCES = 100_000
_MAX_DESCRIBED = 64  # which may take megabytes each

Key = tuple[str, str]  # a project and a reference


class References:
    """Caches looked-up references; asks for the registry's revision once in a while, and forgets all where it changed.

    The result of a look-up that began before `clear` is not cached. Safe to use from several threads.
    """

    def __init__(self, seconds: float = CHECK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.generation = 0  # counts the times at which all was forgotten: what was made before is out of date
        self._seconds = seconds
        self._models: LRUCache[Key, Any] = LRUCache(_MAX_REFERENCES)
        self._known: LRUCache[str, Any] = LRUCache(_MAX_REFERENCES)
        self._described: LRUCache[str, Any] = LRUCache(_MAX_DESCRIBED)
        self._revision: Hashable = None
        self._seen_at: float | None = None  # when the revision was asked for; None: never, or it may be another now
        self._lock = threading.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the registry was looked at just now."""
        seen_at = self._seen_at
        return seen_at is not None and self.clock() - seen_at < self._seconds

    def refresh(self, revision: Callable[[], Hashable]) -> None:
        """Forget all if the registry's revision is another than before; ask for it only when that was long ago."""
        if self.is_current:
            return
        began = self.clock()
        current = revision()
        with self._lock:
            if current != self._revision:
                self._forget()
            self._revision, self._seen_at = current, began

    def get(self, key: Key, look_up: Callable[[], Any]) -> Any:
        """Return the model of `key`, or else what `look_up` returns; an exception of it is not cached."""
        with self._lock:
            generation, model = self.generation, self._models.get(key)
        if model is not None:
            return model
        model = look_up()  # outside the lock: it may take long
        with self._lock:
            if generation == self.generation:
                self._models[key] = model
        return model

    def peek(self, key: Key) -> Any:
        """Return the cached model of `key`, None without one or where the registry may be another by now."""
        if not self.is_current:
            return None
        with self._lock:
            return self._models.get(key)

    def known(self, model_id: str, look_up: Callable[[], Any]) -> Any:
        """Return what was looked up of a model once: models do not change, whatever references mean."""
        return self._once(self._known, model_id, look_up)

    def described(self, model_id: str, look_up: Callable[[], Any]) -> Any:
        """Do the same for what is large, of a few models."""
        return self._once(self._described, model_id, look_up)

    def _once(self, cache: LRUCache[str, Any], model_id: str, look_up: Callable[[], Any]) -> Any:
        with self._lock:
            value = cache.get(model_id)
        if value is None:
            value = look_up()
            with self._lock:
                cache[model_id] = value
        return value

    def clear(self) -> None:
        """Forget all: this process has changed the registry."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self.generation += 1
        self._models.clear()
