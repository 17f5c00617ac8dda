"""Turns of computing go round the projects that wait, a slice each."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.errors import UnavailableError
from app.shares import turns as module
from app.shares.turns import Turns
from tests.support.servers import HANGS, wait_until


class Line:
    """Threads that each take a turn for a project, in the order in which they came."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self._threads: list[threading.Thread] = []

    def join(self, project: str) -> None:
        def work() -> None:
            with self.turns.turn(project, goes_on=True):
                self.served.append(project)

        waiting = self.waiting(project)
        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        wait_until(lambda: self.waiting(project) > waiting, "it stands in line")

    def waiting(self, project: str) -> int:
        return len(self.turns._waiting.get(project, ()))

    def end(self) -> list[str]:
        for thread in self._threads:
            thread.join(HANGS)
        return self.served


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(Turns(1))
    yield line
    line.end()


def test_projects_take_turns_however_many_wait_of_one(line: Line) -> None:
    with line.turns.turn("greedy"):
        for project in ("greedy", "greedy", "greedy", "modest", "other", "modest"):
            line.join(project)
    assert line.end() == ["modest", "other", "greedy", "modest", "greedy", "greedy"]


def test_a_project_that_computes_less_is_next() -> None:
    turns = Turns(3)
    line = Line(turns)
    with ExitStack() as stack:
        stack.enter_context(turns.turn("modest"))
        stack.enter_context(turns.turn("greedy"))
        with turns.turn("greedy"):
            line.join("greedy")
            line.join("modest")
        wait_until(lambda: len(line.served) == 2, "both had a turn")
    assert line.end() == ["modest", "greedy"]


def test_who_computes_already_is_refused_in_the_end_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.02)
    turns = Turns(1)
    line = Line(turns)
    with turns.turn("greedy"):
        line.join("modest")
        with pytest.raises(UnavailableError, match="busy") as caught, turns.turn("greedy"):
            pass
        assert caught.value.code == "busy"
        assert line.waiting("greedy") == 0
    assert line.end() == ["modest"]
    monkeypatch.setattr(module, "LONG_PATIENCE_SECONDS", 0.05)
    with turns.turn("greedy"), pytest.raises(UnavailableError), turns.turn("modest"):
        pass
    with turns.turn("modest"):  # nothing is left behind
        pass


def test_who_goes_on_waits_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(module, "LONG_PATIENCE_SECONDS", 0.02)
    turns = Turns(1)
    line = Line(turns)
    with turns.turn("modest"):
        line.join("greedy")
        time.sleep(0.1)
        assert line.waiting("greedy") == 1
    assert line.end() == ["greedy"]
    assert not turns._computing  # projects come and go: only those that compute are kept


def test_a_turn_is_given_back_after_an_error() -> None:
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.turn("a"):
        raise ZeroDivisionError
    with turns.turn("b"):
        pass
