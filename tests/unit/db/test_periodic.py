"""A thread that acts again and again."""

import logging
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from app.db.periodic import PeriodicThread

NEVER = 3600.0
HANGS = 60.0


class Counting(PeriodicThread):
    """Counts its calls, and fails in the first ones by the errors that it is given."""

    def __init__(self, seconds: float, *errors: Exception, **fields: float) -> None:
        super().__init__("counting", seconds, **fields)
        self.errors = list(errors)
        self.calls = threading.Semaphore(0)

    def act(self) -> None:
        self.calls.release()
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def running() -> Iterator[list[Counting]]:
    """Those that a test starts; they are stopped after it."""
    threads: list[Counting] = []
    yield threads
    for thread in threads:
        thread.stop()


def started(running: list[Counting], thread: Counting) -> Counting:
    running.append(thread)
    thread.start()
    return thread


def test_it_acts_again_and_again_until_it_is_stopped(running: list[Counting]) -> None:
    thread = started(running, Counting(0.001))
    assert all(thread.calls.acquire(timeout=HANGS) for _ in range(3))
    thread.stop()
    assert thread.is_stopping
    assert not thread._thread.is_alive()


def test_it_is_woken_and_begins_at_once_where_that_is_asked_for(running: list[Counting]) -> None:
    thread = started(running, Counting(NEVER, first=0.0))
    assert thread.calls.acquire(timeout=HANGS)
    thread.wake()
    assert thread.calls.acquire(timeout=HANGS)
    thread.wake()
    assert thread.calls.acquire(timeout=HANGS)
    thread.stop()
    assert not thread.calls.acquire(blocking=False), "each wake is a single call"


def test_it_does_not_act_before_its_time(running: list[Counting]) -> None:
    thread = started(running, Counting(NEVER))
    thread.stop()
    assert not thread._thread.is_alive(), "it need not wait for its time"
    assert not thread.calls.acquire(blocking=False)


def test_zero_seconds_are_never(running: list[Counting]) -> None:
    thread = started(running, Counting(0.0, first=0.0))
    assert not thread._thread.is_alive()
    thread.stop()


def test_whatever_fails_is_logged_and_tried_again(running: list[Counting], caplog: pytest.LogCaptureFixture) -> None:
    away = OperationalError("SELECT 1", None, Exception("refused"))
    with caplog.at_level(logging.WARNING):
        thread = started(running, Counting(NEVER, away, ValueError("torn"), first=0.0, retry=0.001))
        assert all(thread.calls.acquire(timeout=HANGS) for _ in range(3))
        thread.stop()
    assert "the database does not answer: OperationalError" in caplog.text
    assert "counting failed; it is tried again in 0.001 s" in caplog.text
    assert not thread.calls.acquire(blocking=False), "after the third, which did not fail, a whole period passes"
