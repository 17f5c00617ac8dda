"""What references to models mean, for as long as the registry stays as it was."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from cachetools import LRUCache

CHECK_SECONDS = 1.0  # for which the registry is taken to be as it was seen last
MAX_INTERIM_SECONDS = 10.0  # for which a version answers whose successor is being loaded
RECENT_SECONDS = 600.0  # for which a reference counts as in use
_MAX_REFERENCES = 100_000
_MAX_DESCRIBED = 64  # which may take megabytes each

Key = tuple[str, str]  # a project and a reference


class Loading(Protocol):
    """A model that is being loaded, as a future."""

    def done(self) -> bool:
        """Whether it is in memory, or cannot be loaded."""


Successor = Callable[[Any, Any], Loading | None]
"""Is given what a reference meant and what it means now; returns the loading that the former is to answer through."""


@dataclass(slots=True)
class _Meaning:
    """What a reference meant when the registry was of a generation, and what answers until that is in memory."""

    generation: int
    model: Any
    used_at: float
    former: Any = None
    loading: Loading | None = None
    former_until: float = 0.0

    def answering(self, now: float) -> Any:
        """Return the model that answers."""
        if self.loading is not None and (self.loading.done() or now >= self.former_until):
            self.former = self.loading = None
        return self.model if self.loading is None else self.former


class References:
    """Caches looked-up references; asks for the registry's revision once in a while, and if it changed looks up anew.

    Where another process lets a reference in use mean another model, which must be loaded first, the former goes on to
    answer until that is done, for `MAX_INTERIM_SECONDS` at most. What this process changes counts at once. The result
    of a look-up that began before `clear` is not cached. Safe to use from several threads.
    """

    def __init__(self, seconds: float = CHECK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.generation = 0  # counts the changes of the registry: what was looked up before is out of date
        self._seconds = seconds
        self._meanings: LRUCache[Key, _Meaning] = LRUCache(_MAX_REFERENCES)
        self._known: LRUCache[str, Any] = LRUCache(_MAX_REFERENCES)
        self._described: LRUCache[str, Any] = LRUCache(_MAX_DESCRIBED)
        self._revision: Hashable = None
        self._seen_at: float | None = None  # when the revision was asked for; None: never, or it may be another now
        self._used_at = -RECENT_SECONDS
        self._lock = threading.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the registry was looked at just now."""
        return self._is_seen_within(self._seconds)

    def _is_seen_within(self, seconds: float) -> bool:
        seen_at = self._seen_at
        return seen_at is not None and self.clock() - seen_at < seconds

    @property
    def are_used(self) -> bool:
        """Whether any reference was used lately."""
        return self.clock() - self._used_at < RECENT_SECONDS

    def refresh(self, revision: Callable[[], Hashable], *, early: bool = False) -> None:
        """Look up anew if the registry's revision is another than before; ask for it only when that was long ago.

        `early` asks for it in half the time, so that no request comes to wait for that.
        """
        if self._is_seen_within(self._seconds / 2 if early else self._seconds):
            return
        began = self.clock()
        current = revision()
        with self._lock:
            if current != self._revision:
                self.generation += 1
            self._revision, self._seen_at = current, began

    def get(
        self, key: Key, look_up: Callable[[], Any], successor: Successor | None = None, *, is_use: bool = True
    ) -> Any:
        """Return the model of `key`, or else what `look_up` returns; an exception of it is not cached.

        `successor` decides whether the former model answers until that one is loaded. With `is_use` False the
        reference counts as used no more recently than before.
        """
        with self._lock:
            generation, meaning = self.generation, self._meanings.get(key)
            if meaning is not None and meaning.generation == generation:
                return self._answering(meaning, is_use=is_use)
        try:
            model = look_up()  # outside the lock: it may take long
        except BaseException:
            with self._lock:
                self._meanings.pop(key, None)
            raise
        anew = self._succeeding(meaning, _Meaning(generation, model, self.clock()), successor)
        with self._lock:
            if generation == self.generation:
                self._meanings[key] = anew
            return self._answering(anew, is_use=is_use)

    def _succeeding(self, meaning: _Meaning | None, anew: _Meaning, successor: Successor | None) -> _Meaning:
        """Return what a reference means anew, through whose loading what it meant before may answer."""
        now = anew.used_at
        if meaning is not None and successor is not None and now - meaning.used_at < RECENT_SECONDS:
            anew.used_at = meaning.used_at
            anew.former = meaning.answering(now)
            anew.former_until = meaning.former_until if meaning.loading else now + MAX_INTERIM_SECONDS
            anew.loading = successor(anew.former, anew.model)
        return anew

    def _answering(self, meaning: _Meaning, *, is_use: bool) -> Any:
        now = self.clock()
        if is_use:
            meaning.used_at = self._used_at = now
        return meaning.answering(now)

    def peek(self, key: Key) -> Any:
        """Return the cached model of `key`, None without one or where the registry may be another by now."""
        if not self.is_current:
            return None
        with self._lock:
            meaning = self._meanings.get(key)
            if meaning is None or meaning.generation != self.generation:
                return None
            return self._answering(meaning, is_use=True)

    def is_settled(self, key: Key, generation: int) -> bool:
        """Whether what a reference meant at a generation holds until the next, since nothing else answers for it."""
        with self._lock:
            meaning = self._meanings.get(key)
            is_of_now = meaning is not None and meaning.generation == generation == self.generation
            return is_of_now and meaning is not None and meaning.loading is None

    def outdated(self) -> list[Key]:
        """Return the references that were used lately, and may mean something else by now; the last used one first."""
        since = self.clock() - RECENT_SECONDS
        with self._lock:
            used = {
                key: meaning.used_at
                for key, meaning in self._meanings.items()
                if meaning.generation != self.generation and meaning.used_at > since
            }
        return sorted(used, key=lambda key: -used[key])

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
            self.generation += 1
            self._meanings.clear()
