"""Work in parts, by several processes, whose results come in the order of the parts."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Self, TypeVar

from app.kit.process import die_with_parent

Part = TypeVar("Part")
Result = TypeVar("Result")
_WAITING = 2  # parts a process, which are in memory at a time
_MAX_PROCESSES = 16  # each takes some 100 MB


class Processes:
    """Processes that work on parts: `count` of them, started at their first part; 1: this process does it all.

    They are started anew rather than forked: this process may have threads. They end with it, and with the block. Where
    one of them is killed, this process does the rest.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = max(1, min(count, _MAX_PROCESSES))
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def are_worth(self, size: int, least: int) -> bool:
        """Whether several processes should share work of a size: of `least`, or of a quarter of it once they run.

        To start them takes about a second.
        """
        return self.count > 1 and size >= (least if self._pool is None else least // 4)

    def map(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """Yield `work(part)` of each part, in order.

        `work` is a function of a module, and parts and results are pickled; whatever it raises is raised in its turn.
        """
        waiting: deque[tuple[Part, Future[Result] | None]] = deque()
        for part in parts:
            waiting.append((part, self._submit(work, part)))
            if len(waiting) > _WAITING * self.count or self.count == 1:
                yield self._result(work, *waiting.popleft())
        while waiting:
            yield self._result(work, *waiting.popleft())

    def _submit(self, work: Callable[[Part], Result], part: Part) -> Future[Result] | None:
        """Give a part to one of the processes; None: this one does it."""
        if self.count == 1:
            return None
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), die_with_parent, (os.getpid(),))
        try:
            return self._pool.submit(work, part)
        except BrokenProcessPool:
            return None

    def _result(self, work: Callable[[Part], Result], part: Part, future: Future[Result] | None) -> Result:
        if future is None:
            return work(part)
        try:
            return future.result()
        except BrokenProcessPool:  # one was killed, for memory perhaps: this process goes on alone
            self.count = 1
            return work(part)
