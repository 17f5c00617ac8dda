"""Greedy batches: what waits for a computation goes together into the next one; nothing ever waits for more to come.

A batcher belongs to one event loop at a time. Light batches are computed on the loop itself, since handing work to a
thread costs more than they do; heavy ones in a thread, so that the loop stays free. Which are light is measured, batch
by batch.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol

import numpy as np

from app.ml.interfaces import Rows

MAX_BATCH_ROWS = 256
MAX_LOOP_SECONDS = 0.005  # for which a batch may hold up the event loop
_WEIGHT = 0.1  # of the newest batch in what is expected of the next
Part = tuple[Any, int]
Compute = Callable[[Rows, Sequence[Part]], Sequence[Any]]
"""Answers rows (N, ...), one for each, of which the first so many are for each asker in turn."""


class Receiver(Protocol):
    """Who waits for answers, on the event loop."""

    @property
    def is_waiting(self) -> bool:
        """Whether the answers are of any use still."""

    def receive(self, answers: Sequence[Any], error: BaseException | None) -> None:
        """Take the answers, one for each row; or an error in their place. Must not raise."""


class _Awaiting:
    """Gives answers to a future."""

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[Sequence[Any]]") -> None:
        self.future = future

    @property
    def is_waiting(self) -> bool:
        return not self.future.done()

    def receive(self, answers: Sequence[Any], error: BaseException | None) -> None:
        if error is None:
            self.future.set_result(answers)
        else:
            self.future.set_exception(error)


class _Request(NamedTuple):
    rows: Rows  # (n, ...)
    asker: Any
    receiver: Receiver


class _Cost:
    """Seconds of a batch by its rows: the line of least squares through all batches, the newest weighing most."""

    def __init__(self) -> None:
        self._is_known = False
        self._rows = self._seconds = self._variance = self._covariance = 0.0

    def add(self, rows: int, seconds: float) -> None:
        """Learn what a batch has cost."""
        weight = _WEIGHT if self._is_known else 1.0
        self._is_known = True
        more_rows, more_seconds = rows - self._rows, seconds - self._seconds
        self._rows += weight * more_rows
        self._seconds += weight * more_seconds
        self._variance = (1 - weight) * (self._variance + weight * more_rows**2)
        self._covariance = (1 - weight) * (self._covariance + weight * more_rows * more_seconds)

    def seconds(self, rows: int) -> float:
        """Return what a batch is expected to cost: infinitely much as long as none was measured."""
        if not self._is_known:
            return math.inf
        if self._variance < 1:  # all batches were of one size: each row may cost as much as all of it
            return self._seconds * max(1.0, rows / self._rows)
        return self._seconds + max(0.0, self._covariance / self._variance) * (rows - self._rows)


class Batcher:
    """Collects the rows of concurrent requests for one computation, such as the predictions of a family of models."""

    def __init__(self, compute: Compute, executor: Executor, max_rows: int = MAX_BATCH_ROWS) -> None:
        self._compute = compute
        self._max_rows = min(max_rows, MAX_BATCH_ROWS)
        self._executor = executor
        self._waiting: deque[_Request] = deque()
        self._is_busy = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.began: float | None = None  # when the batch began that is computed in a thread, by time.monotonic()
        self._cost = _Cost()

    def submit(self, rows: Rows, asker: Any = None) -> "asyncio.Future[Sequence[Any]]":
        """Return a future of the answers to rows (n, ...), one for each; an exception of the computation is its own.

        `asker` is whom they are for, such as a model.
        """
        answers: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self.submit_for(_Awaiting(answers), rows, asker)
        return answers

    def submit_for(self, receiver: Receiver, rows: Rows, asker: Any = None) -> None:
        """Do the same, and call the receiver: a future takes another turn of the event loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waited on a loop that has ended waits for ever
            self._loop, self._is_busy = loop, False
            self._waiting.clear()
        self._waiting.append(_Request(rows, asker, receiver))
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._run, loop)  # after all requests that have arrived by now

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        requests = self._next_batch()
        if not requests:
            self._is_busy = False
            return
        if self._is_light(sum(len(request.rows) for request in requests)):
            self._deliver(requests, *self._timed(requests))
            if self._waiting:
                loop.call_soon(self._run, loop)
            else:
                self._is_busy = False
        else:
            self.began = time.monotonic()
            done = loop.run_in_executor(self._executor, self._timed, requests)
            done.add_done_callback(lambda future: self._resume(loop, requests, future.result()))

    def _resume(
        self,
        loop: asyncio.AbstractEventLoop,
        requests: list[_Request],
        result: tuple[Sequence[Any], BaseException | None],
    ) -> None:
        self.began = None
        self._deliver(requests, *result)
        self._run(loop)

    def _next_batch(self) -> list[_Request]:
        """Take the requests that wait, up to `max_rows` rows of one shape; skip those that nobody waits for."""
        batch: list[_Request] = []
        count = 0
        while self._waiting:
            request = self._waiting[0]
            fits = not batch or (
                count + len(request.rows) <= self._max_rows and request.rows.shape[1:] == batch[0].rows.shape[1:]
            )
            if not fits:
                break
            self._waiting.popleft()
            if request.receiver.is_waiting:
                batch.append(request)
                count += len(request.rows)
        return batch

    def _is_light(self, rows: int) -> bool:
        return self._cost.seconds(rows) <= MAX_LOOP_SECONDS

    def _timed(self, requests: list[_Request]) -> tuple[Sequence[Any], BaseException | None]:
        began = time.perf_counter()
        try:
            rows = requests[0].rows if len(requests) == 1 else np.concatenate([request.rows for request in requests])
            answers = self._compute(rows, [(request.asker, len(request.rows)) for request in requests])
        except Exception as error:  # noqa: BLE001 - it is raised in every request of the batch
            return (), error
        self._cost.add(len(rows), time.perf_counter() - began)
        return answers, None

    def _deliver(self, requests: list[_Request], answers: Sequence[Any], error: BaseException | None) -> None:
        start = 0
        for request in requests:
            end = start + len(request.rows)
            if request.receiver.is_waiting:
                request.receiver.receive(answers[start:end], error)
            start = end
