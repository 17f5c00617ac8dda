"""Keeps loaded models in memory. Callers pass the function that loads a model: the engine knows no SQL and no files."""

import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from app.ml.configs.generation import Generating, GenerationConfig
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.head_answers import USUAL, AnswerOptions, Answers
from app.ml.models.shared import SharedParts
from app.serving.batching import Batcher
from app.serving.references import References

Rows = NDArray[Any]


class LoadedModel(Protocol):
    """A loaded model. Safe to use from several threads."""

    @property
    def parts(self) -> Mapping[Hashable, int]:
        """What it consists of, and the bytes that each takes; models that share a part name it alike."""

    @property
    def family(self) -> Hashable:
        """What it has in common with models whose rows are computed together with its own."""

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """Encode N JSON values as rows (N, ...). Raises `InputError` with the place of each unreadable value."""

    def decode_sound(self, inputs: Rows) -> Rows | None:
        """Encode an array of N inputs as `decode` does, where nothing in it is doubtful; None where it takes longer."""

    @property
    def rows_at_once(self) -> int:
        """How many rows are computed together; more are computed one block after another."""

    @property
    def rows_in_a_turn(self) -> int:
        """How many rows of a large request are computed before other requests have their turn."""

    def encode(self, rows: Rows) -> Rows:
        """Encode rows (N, ...), at most `rows_at_once` of them."""

    def predict_encoded(
        self,
        encoded: Rows,
        heads: Collection[str] | None = None,
        options: AnswerOptions = USUAL,
        features: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the answers `{head: {...}}` of N encoded rows, of all heads or of those with the keys.

        `features` keeps what the backbone made of these rows, for other models on it.
        """

    @property
    def backbone(self) -> Hashable:
        """What it has in common with models of which its backbone is, too."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The keys of the heads."""

    def predict(
        self, rows: Rows, heads: Collection[str] | None = None, options: AnswerOptions = USUAL
    ) -> list[dict[str, Any]]:
        """Return the answers `{head: {...}}` of N rows (N, ...), of all heads or of those with the keys."""

    def answers(self, rows: Rows, key: str) -> list[Answers]:
        """Return the answers of one head to rows (N, ...), in blocks."""

    def predict_together(self, rows: Rows, parts: Sequence[tuple[Self, int]]) -> list[dict[str, Any]]:
        """Return the answers of N rows, at most `rows_at_once`, for models of its family: the first so many of each."""

    def embed(self, rows: Rows) -> NDArray[np.float32]:
        """Return the features (N, F) of rows (N, ...)."""

    def prompts(self, inputs: Sequence[Any], doubts: Doubts | None = None) -> list[list[int]]:
        """Encode texts to continue. Raises `InputError` with the place of each input that is no text."""

    def generating(
        self, prompts: Sequence[Sequence[int]], config: GenerationConfig, seconds: float, *, streamed: bool = False
    ) -> Generating:
        """Continue encoded texts, token by token, for at most `seconds`; `streamed`: say what they grow by."""


class Batchers(dict[str, Batcher]):
    """The batchers of a family of models, by the name of what they compute."""


@dataclass(frozen=True)
class Resident:
    """A model in memory, and the batchers that it shares with all of its family."""

    model: LoadedModel
    batchers: Batchers


class Engine:
    """Keeps the models that were used most recently, as many as fit: `max_bytes` in `max_models`.

    What models share counts once, and for as long as one of them is in memory. A model larger than that is kept alone.
    `references` caches which model a reference means.
    """

    def __init__(
        self,
        max_models: int,
        references: References | None = None,
        *,
        max_bytes: int = sys.maxsize,
    ) -> None:
        self.references = references or References()
        self.shared = SharedParts()
        self._max_models, self._max_bytes = max_models, max_bytes
        self._loaded: OrderedDict[str, Future[Resident]] = OrderedDict()  # the one used longest ago first
        self._residents: dict[str, Resident] = {}  # those of `_loaded` that are
        self._pinned: frozenset[str] = frozenset()
        self._families: WeakValueDictionary[Hashable, Batchers] = WeakValueDictionary()
        self._users: Counter[Hashable] = Counter()  # how many models in memory have a part
        self._bytes = 0
        self._lock = threading.Lock()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="preloading")

    def resident(self, model_id: str, load: Callable[[], LoadedModel]) -> Resident:
        """Return a model; concurrent calls for the same model run `load` once.

        An exception of `load` is raised in all of these calls; the next call loads again.
        """
        with self._lock:
            future = self._used(model_id)
            if must_load := future is None:
                future = self._loaded[model_id] = Future()
        if must_load:
            self._load(model_id, future, load)
        return future.result()

    def peek(self, model_id: str) -> Resident | None:
        """Return a model that is in memory, None for any other."""
        with self._lock:
            resident = self._residents.get(model_id)
            if resident is not None:
                self._loaded.move_to_end(model_id)
        return resident

    def in_background(self, load: Callable[[], object]) -> Future[object]:
        """Run what loads models after all that was asked for before, in a thread that requests do not wait for."""
        return self._background.submit(load)

    def unload(self, model_id: str) -> None:
        """Drop a model from memory; predictions in progress finish with it."""
        with self._lock:
            self._drop(model_id)

    def pin(self, model_ids: Iterable[str]) -> None:
        """Keep these models once they are in memory, and no others, however long ago they were used."""
        with self._lock:
            self._pinned = frozenset(model_ids)
            self._make_room()

    def loaded(self) -> list[str]:
        """Return the ids of the models in memory."""
        with self._lock:
            return [model_id for model_id in self._loaded if model_id in self._residents]

    @property
    def bytes_in_use(self) -> int:
        """How much memory the models take, nearly."""
        with self._lock:
            return self._bytes

    def seconds_of_longest_batch(self) -> float:
        """Return for how long the batch has been computed that has been for longest; 0 where there is none."""
        with self._lock:
            families = list(self._families.values())
        began = [batcher.began for batchers in families for batcher in list(batchers.values()) if batcher.began]
        return time.monotonic() - min(began) if began else 0.0

    def _used(self, model_id: str) -> "Future[Resident] | None":
        if model_id in self._loaded:
            self._loaded.move_to_end(model_id)
        return self._loaded.get(model_id)

    def _load(self, model_id: str, future: "Future[Resident]", load: Callable[[], LoadedModel]) -> None:
        try:
            model = load()
        except BaseException as error:
            with self._lock:
                if self._loaded.get(model_id) is future:
                    del self._loaded[model_id]
            future.set_exception(error)
            raise
        with self._lock:
            resident = Resident(model, self._families.setdefault(model.family, Batchers()))
            future.set_result(resident)
            if self._loaded.get(model_id) is future:
                self._residents[model_id] = resident
                self._count(model, 1)
                self._make_room(newest=model_id)

    def _make_room(self, newest: str | None = None) -> None:
        """Drop models, the one used longest ago first, but none that is pinned, is being loaded or is the newest."""
        for model_id in list(self._loaded):
            if self._bytes <= self._max_bytes and len(self._loaded) <= self._max_models:
                return
            if model_id != newest and model_id not in self._pinned and model_id in self._residents:
                self._drop(model_id)

    def _drop(self, model_id: str) -> None:
        self._loaded.pop(model_id, None)
        resident = self._residents.pop(model_id, None)
        if resident is not None:
            self._count(resident.model, -1)

    def _count(self, model: LoadedModel, change: Literal[1, -1]) -> None:
        """Count the bytes of a model's parts that came with it, or went."""
        for part, size in model.parts.items():
            before = self._users[part]
            self._users[part] += change
            if before + change == 0:
                del self._users[part]
            if 0 in (before, before + change):
                self._bytes += change * size
