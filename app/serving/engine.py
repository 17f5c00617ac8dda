"""Keeps loaded models in memory. Callers pass the function that loads a model: the engine knows no SQL and no files."""

import copy
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.ml.configs.generation import Generating, GenerationConfig
from app.ml.interfaces.doubts import Doubts
from app.serving.batching import Batcher
from app.serving.cache import ExpiringCache

REFERENCE_SECONDS = 2.0  # for which a resolved reference is cached
Rows = NDArray[Any]


class LoadedModel(Protocol):
    """A loaded model. Safe to use from several threads."""

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """Encode N JSON values as rows (N, ...). Raises `InputError` with the place of each unreadable value."""

    @property
    def rows_at_once(self) -> int:
        """How many rows are computed together; more are computed one block after another."""

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Return the answers `{head: {...}}` of N rows (N, ...)."""

    def embed(self, rows: Rows) -> NDArray[np.float32]:
        """Return the features (N, F) of rows (N, ...)."""

    def prompts(self, inputs: Sequence[Any], doubts: Doubts | None = None) -> list[list[int]]:
        """Encode texts to continue. Raises `InputError` with the place of each input that is no text."""

    def generating(
        self, prompts: Sequence[Sequence[int]], config: GenerationConfig, seconds: float, *, streamed: bool = False
    ) -> Generating:
        """Continue encoded texts, token by token, for at most `seconds`; `streamed`: say what they grow by."""


@dataclass(frozen=True)
class Resident:
    """A model in memory, and the batchers of its computations by name, which go when it goes."""

    model: LoadedModel
    batchers: dict[str, Batcher] = field(default_factory=dict)


class Engine:
    """Keeps the `capacity` most recently used models.

    `references` caches which model a reference means; `computing` limits concurrent predictions to the number of cores.
    """

    def __init__(self, capacity: int, references: ExpiringCache[tuple[str, str], Any] | None = None) -> None:
        self.references = references or ExpiringCache(REFERENCE_SECONDS)
        self.computing = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._loaded: LRUCache[str, Future[Resident]] = LRUCache(capacity)
        self._lock = threading.Lock()

    def resident(self, model_id: str, load: Callable[[], LoadedModel]) -> Resident:
        """Return a model; concurrent calls for the same model run `load` once.

        An exception of `load` is raised in all of these calls; the next call loads again.
        """
        with self._lock:
            future = self._loaded.get(model_id)
            if must_load := future is None:
                future = self._loaded[model_id] = Future()
        if must_load:
            self._load(model_id, future, load)
        return future.result()

    def peek(self, model_id: str) -> Resident | None:
        """Return a model that is in memory, None for any other."""
        with self._lock:
            future = self._loaded.get(model_id)
        return future.result() if future is not None and future.done() and future.exception() is None else None

    def unload(self, model_id: str) -> None:
        """Drop a model from memory; predictions in progress finish with it."""
        with self._lock:
            self._loaded.pop(model_id, None)

    def loaded(self) -> list[str]:
        """Return the ids of the models in memory."""
        with self._lock:
            loaded = copy.copy(self._loaded)  # reading the values of the cache itself would count as use
        return [model_id for model_id, future in loaded.items() if future.done()]

    def _load(self, model_id: str, future: "Future[Resident]", load: Callable[[], LoadedModel]) -> None:
        try:
            future.set_result(Resident(load()))
        except BaseException as error:
            with self._lock:
                if self._loaded.get(model_id) is future:
                    del self._loaded[model_id]
            future.set_exception(error)
            raise
