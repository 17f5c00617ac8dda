"""What waits goes together, in order; light batches on the event loop, heavy ones in a thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.ml.interfaces import Rows
from app.serving.batching import MAX_BATCH_ROWS, MAX_LOOP_SECONDS, Batcher, Part


class Computation:
    """Doubles rows, and keeps the sizes of its batches and the threads that it ran in."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []
        self.threads: list[int] = []
        self.begun = threading.Event()
        self.at_once = 0

    def __call__(self, rows: Rows, _: Sequence[Part]) -> Sequence[Any]:
        self.sizes.append(len(rows))
        self.threads.append(threading.get_ident())
        self.begun.set()
        self.at_once += 1
        assert self.at_once == 1, "two batches are computed at the same time"
        began = time.thread_time()
        while time.thread_time() - began < self.seconds:
            pass
        self.at_once -= 1
        if (rows < 0).any():
            msg = "negative"
            raise ValueError(msg)
        return (rows * 2).tolist()


def run(computation: Computation, ask: Callable[[Batcher], Coroutine[Any, Any, Any]]) -> Any:
    async def asked() -> Any:
        batcher = Batcher(computation, pool)
        for size in (1, 1, 1, 200, 1):  # what a batch costs is known from here on
            await batcher.submit(np.zeros((size, 1)))
        computation.sizes.clear()
        computation.threads.clear()
        computation.begun.clear()
        return await ask(batcher)

    with ThreadPoolExecutor(2) as pool:
        return asyncio.run(asked())


def rows(*values: float) -> Rows:
    return np.array([[value] for value in values])


def test_requests_that_wait_are_one_batch_and_each_gets_its_rows() -> None:
    computation = Computation()

    async def ask(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher.submit(rows(n, n + 0.5)) for n in range(20)))

    assert run(computation, ask) == [[[2.0 * n], [2.0 * n + 1]] for n in range(20)]
    assert computation.sizes == [40]
    assert set(computation.threads) == {threading.get_ident()}


def test_one_request_waits_for_no_other() -> None:
    computation = Computation()

    async def ask(batcher: Batcher) -> Any:
        return [await batcher.submit(rows(n)) for n in range(3)]

    assert run(computation, ask) == [[[0.0]], [[2.0]], [[4.0]]]
    assert computation.sizes == [1, 1, 1]


def test_a_batch_is_bounded_and_what_is_larger_goes_alone() -> None:
    computation = Computation()
    sizes = (MAX_BATCH_ROWS - 1, 1, 1, MAX_BATCH_ROWS + 5, 2)

    async def ask(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher.submit(rows(*range(size))) for size in sizes))

    answers = run(computation, ask)
    assert [len(answer) for answer in answers] == list(sizes)
    assert computation.sizes == [MAX_BATCH_ROWS, 1, MAX_BATCH_ROWS + 5, 2]


def test_rows_of_another_shape_are_another_batch() -> None:
    computation = Computation()

    async def ask(batcher: Batcher) -> Any:
        return await asyncio.gather(batcher.submit(np.ones((1, 2))), batcher.submit(np.ones((1, 3))))

    assert run(computation, ask) == [[[2.0, 2.0]], [[2.0, 2.0, 2.0]]]
    assert computation.sizes == [1, 1]


def test_heavy_batches_leave_the_event_loop_free_and_what_comes_meanwhile_is_the_next_one() -> None:
    computation = Computation(seconds=4 * MAX_LOOP_SECONDS)

    async def ask(batcher: Batcher) -> Any:
        first = batcher.submit(rows(1))
        await asyncio.to_thread(computation.begun.wait)  # it runs in a thread of its own: the loop goes on
        others = [batcher.submit(rows(n)) for n in (2, 3)]
        return await asyncio.gather(first, *others)

    assert run(computation, ask) == [[[2.0]], [[4.0]], [[6.0]]]
    assert computation.sizes == [1, 2]
    assert threading.get_ident() not in computation.threads


def test_an_error_reaches_every_request_of_its_batch_and_no_other() -> None:
    computation = Computation()

    async def ask(batcher: Batcher) -> Any:
        together = await asyncio.gather(batcher.submit(rows(1)), batcher.submit(rows(-1)), return_exceptions=True)
        return together, await batcher.submit(rows(5))

    errors, after = run(computation, ask)
    assert all(isinstance(error, ValueError) for error in errors)
    assert after == [[10.0]]


@pytest.mark.parametrize("seconds", [0.0, 4 * MAX_LOOP_SECONDS])
def test_what_nobody_waits_for_is_not_computed(seconds: float) -> None:
    computation = Computation(seconds)

    async def ask(batcher: Batcher) -> Any:
        gone, kept = batcher.submit(rows(1, 1, 1)), batcher.submit(rows(2))
        gone.cancel()
        return await kept

    assert run(computation, ask) == [[4.0]]
    assert computation.sizes == [1]
