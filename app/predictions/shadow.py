"""Shadows: copies of predictions, computed by another version after they were answered, and compared.

An answer never waits for its shadow, and never fails by it: copies wait in a bounded queue for a thread, which takes
turns of computing that no prediction asks for. What there is no room or no turn for is dropped, and counted. Only
counts are kept, and added to those of other processes now and then.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.aliases.comparison import Answer, Counts, compare
from app.aliases.repository import AliasKey, add_counts
from app.db.session import Database
from app.ml.interfaces import Rows
from app.shares.turns import Turns

log = logging.getLogger(__name__)

MAX_WAITING = 64  # copies
MAX_WAITING_BYTES = 8 << 20  # of their rows as stored; as JSON they take some times as much
FLUSH_SECONDS = 1.0
_MAX_UNSAVED = 1000  # pairs of models
PATIENCE_SECONDS = 0.5  # without a turn that nobody else asks for
_PAUSE_SECONDS = 0.01
Pair = tuple[AliasKey, str, str]  # alias, model, shadow


@dataclass(frozen=True, slots=True)
class Copy:
    """A prediction that was answered, and how its shadow answers it."""

    pair: Pair
    inputs: Sequence[Any] | Rows
    answers: Sequence[Answer]
    seconds: float
    bytes: int
    predict: Callable[[Sequence[Any] | Rows], Sequence[Answer]]


class Shadows:
    """Computes copies in a thread of its own, which starts with the first of them."""

    def __init__(self, database: Database, turns: Turns) -> None:
        self._database = database
        self._turns = turns
        self._copies: queue.SimpleQueue[Copy | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = self._waiting_bytes = 0
        self._unsaved: dict[Pair, Counts] = {}
        self._thread: threading.Thread | None = None

    def offer(self, copy: Copy) -> None:
        """Take a copy if there is room; never waits."""
        with self._lock:
            fits = self._waiting < MAX_WAITING and self._waiting_bytes + copy.bytes <= MAX_WAITING_BYTES
            if fits:
                self._waiting += 1
                self._waiting_bytes += copy.bytes
            else:
                self._count(copy.pair, Counts(dropped=1))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
                self._thread.start()
        if fits:
            self._copies.put(copy)

    def stop(self) -> None:
        """Save what was counted; copies that wait are dropped."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._copies.put(None)
            thread.join(timeout=5)

    def _run(self) -> None:
        flush_at = time.monotonic() + FLUSH_SECONDS
        while True:
            try:
                copy = self._copies.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                self._flush()
                continue
            if copy is None:
                self._flush()
                return
            counts = self._compared(copy)
            with self._lock:
                self._waiting -= 1
                self._waiting_bytes -= copy.bytes
                self._count(copy.pair, counts)
            if time.monotonic() >= flush_at:
                self._flush()
                flush_at = time.monotonic() + FLUSH_SECONDS

    def _compared(self, copy: Copy) -> Counts:
        key, _, shadow_id = copy.pair
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self._turns.spare_turn(key.project_id) as is_mine:
                if is_mine:
                    return self._computed(copy, shadow_id)
            time.sleep(_PAUSE_SECONDS)
        return Counts(dropped=1)

    def _computed(self, copy: Copy, shadow_id: str) -> Counts:
        began = time.perf_counter()
        try:
            shadow_answers = copy.predict(copy.inputs)
        except Exception as error:  # noqa: BLE001 - a shadow fails as it likes: that is counted
            log.warning("the shadow %s cannot answer: %s", shadow_id, type(error).__name__)
            return Counts(errors=1)
        seconds = time.perf_counter() - began
        return Counts(
            requests=1,
            rows=len(copy.answers),
            seconds=copy.seconds,
            shadow_seconds=seconds,
            heads=compare(copy.answers, shadow_answers),
        )

    def _count(self, pair: Pair, counts: Counts) -> None:
        """Add counts to the unsaved ones; the lock is held."""
        if pair in self._unsaved or len(self._unsaved) < _MAX_UNSAVED:
            self._unsaved[pair] = self._unsaved.get(pair, Counts()).plus(counts)

    def _flush(self) -> None:
        """Save the counts; where the database is away, they stay for the next time."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        for pair, counts in unsaved.items():
            key, model, shadow = pair
            add = partial(add_counts, key=key, model_id=model, shadow_id=shadow, counts=counts)
            try:
                self._database.transact(add)
            except Exception as error:  # noqa: BLE001 - whatever keeps the database away may have passed by then
                log.warning("counts of a shadow are saved later: %s", type(error).__name__)
                with self._lock:
                    self._count(pair, counts)


def is_chosen(share: float) -> bool:
    """Whether this request is among the share that is copied."""
    return share >= 1 or random.random() < share  # noqa: S311 - a sample
