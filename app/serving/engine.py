"""Which models are in memory, and how many compute at once. It is given loaders; it knows no SQL and no files."""

import copy
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.ml.configs.generation import Continued, GenerationConfig
from app.serving.memory import ShortMemory

REMEMBER_SECONDS = 2.0
Rows = NDArray[Any]


class Predictor(Protocol):
    """A loaded model. Safe to use from several threads."""

    def decode(self, inputs: Sequence[Any]) -> Rows:
        """JSON values to rows (N, ...); raises `InputError` naming the bad ones."""

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Rows (N, ...) to one answer each: {head: {...}}."""

    def embed(self, rows: Rows) -> NDArray[np.float32]:
        """Rows (N, ...) to features (N, F)."""

    def generate(self, inputs: Sequence[Any], config: GenerationConfig, seconds: float) -> list[Continued]:
        """Texts to what follows them; raises `InputError` naming the bad ones."""


class Engine:
    """Keeps the `capacity` models used last. `references` remembers briefly which model a name means."""

    def __init__(self, capacity: int, references: ShortMemory[tuple[str, str], Any] | None = None) -> None:
        self.references = references or ShortMemory(REMEMBER_SECONDS)
        self.computing = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._loaded: LRUCache[str, Future[Predictor]] = LRUCache(capacity)
        self._lock = threading.Lock()

    def predictor(self, model_id: str, load: Callable[[], Predictor]) -> Predictor:
        """Return the model, loaded once however many ask at the same time.

        What `load` raises is raised to all who wait for it; the next who asks loads again.
        """
        with self._lock:
            future = self._loaded.get(model_id)
            if is_first := future is None:
                future = self._loaded[model_id] = Future()
        if is_first:
            self._load(model_id, future, load)
        return future.result()

    def forget(self, model_id: str) -> None:
        """Drop a model; requests under way finish with it."""
        with self._lock:
            self._loaded.pop(model_id, None)

    def loaded(self) -> list[str]:
        """Return the ids of the models in memory."""
        with self._lock:
            loaded = copy.copy(self._loaded)  # looking at its values would count as using them
        return [model_id for model_id, future in loaded.items() if future.done()]

    def _load(self, model_id: str, future: "Future[Predictor]", load: Callable[[], Predictor]) -> None:
        try:
            future.set_result(load())
        except BaseException as error:
            with self._lock:
                if self._loaded.get(model_id) is future:
                    del self._loaded[model_id]
            future.set_exception(error)
            raise
