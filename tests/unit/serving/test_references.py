from concurrent.futures import Future
from typing import Any

import pytest

from app.serving.references import References


class Registry:
    """A clock, a revision, and how often each was asked for."""

    def __init__(self) -> None:
        self.now, self.revision = 100.0, 1
        self.looks: list[float] = []
        self.references = References(2.0, clock=lambda: self.now)

    def look(self) -> int:
        self.looks.append(self.now)
        return self.revision

    def get(self, model: Any) -> Any:
        self.references.refresh(self.look)
        return self.references.get(("p", "m"), lambda: model)


def test_a_reference_is_looked_up_once_while_the_registry_stays_as_it_is() -> None:
    registry = Registry()
    assert [registry.get("a"), registry.get("b")] == ["a", "a"]
    registry.now += 1.9
    assert registry.get("b") == "a"
    assert registry.looks == [100.0]
    registry.now += 100
    assert registry.get("b") == "a"
    assert len(registry.looks) == 2


def test_what_another_process_changes_is_seen_when_the_registry_is_looked_at_again() -> None:
    registry = Registry()
    registry.get("a")
    registry.revision = 2
    assert registry.get("b") == "a"
    registry.now += 2.1
    generation = registry.references.generation
    assert registry.get("b") == "b"
    assert registry.references.generation > generation


def test_the_time_counts_from_before_the_look() -> None:
    registry = Registry()

    def slow() -> int:
        registry.now += 1.5
        return 1

    registry.references.refresh(slow)
    assert registry.references.is_current
    registry.now += 1
    assert not registry.references.is_current
    assert registry.references.peek(("p", "m")) is None


def test_what_is_forgotten_during_a_look_up_is_not_kept() -> None:
    registry = Registry()
    registry.references.refresh(registry.look)

    def overtaken() -> str:
        registry.references.clear()
        return "old"

    assert registry.references.get(("p", "m"), overtaken) == "old"
    assert registry.get("new") == "new"
    assert registry.references.peek(("p", "m")) == "new"
    registry.references.clear()
    assert registry.references.peek(("p", "m")) is None


def test_what_this_process_has_overtaken_is_no_former_meaning() -> None:
    moved = Succession()
    references = moved.registry.references
    references.refresh(moved.registry.look)

    def overtaken() -> str:
        references.clear()
        return "b"

    assert references.get(("p", "m"), overtaken) == "b"
    assert moved.get("c") == "c"
    assert moved.asked == []


def test_errors_are_not_remembered() -> None:
    registry = Registry()

    def missing() -> Any:
        raise KeyError

    with pytest.raises(KeyError):
        registry.references.get(("p", "m"), missing)
    assert registry.get("a") == "a"


def test_what_is_known_of_a_model_outlives_what_references_mean() -> None:
    registry = Registry()
    for cached in (registry.references.known, registry.references.described):
        assert cached("id", lambda: 1) == 1
        registry.references.clear()
        assert cached("id", lambda: 2) == 1
    for number in range(100):
        registry.references.described(str(number), lambda: number)  # noqa: B023 - called at once
    assert registry.references.described("id", lambda: 3) == 3  # few are kept


class Succession:
    """A reference that another process lets mean "b" instead of "a", the loading of which the test ends."""

    def __init__(self) -> None:
        self.registry, self.loading = Registry(), Future[None]()
        self.asked: list[tuple[str, str]] = []
        self.get("a")
        self.change()

    def change(self) -> None:
        self.registry.revision += 1
        self.registry.now += 2.1

    def successor(self, former: str, model: str) -> Future[None] | None:
        self.asked.append((former, model))
        return None if former == model else self.loading

    def get(self, model: str, *, is_use: bool = True) -> Any:
        self.registry.references.refresh(self.registry.look)
        return self.registry.references.get(("p", "m"), lambda: model, self.successor, is_use=is_use)

    def peek(self) -> Any:
        return self.registry.references.peek(("p", "m"))


def test_the_former_answers_until_its_successor_is_loaded() -> None:
    moved = Succession()
    assert [moved.get("b"), moved.get("b"), moved.peek()] == ["a", "a", "a"]
    assert moved.asked == [("a", "b")]
    moved.loading.set_result(None)
    assert [moved.peek(), moved.get("b")] == ["b", "b"]


def test_the_former_answers_for_a_bounded_time_however_often_the_registry_changes() -> None:
    moved = Succession()
    for _ in range(4):
        assert moved.get("b") == "a"
        moved.change()
    assert moved.registry.now - 100 > 10
    moved.registry.now += 2
    assert moved.get("b") == "b"


def test_what_this_process_changes_counts_at_once() -> None:
    moved = Succession()
    assert moved.get("b") == "a"
    moved.registry.references.clear()
    assert moved.get("b") == "b"
    assert moved.asked == [("a", "b")]


def test_references_in_use_are_outdated_once_the_registry_has_changed() -> None:
    moved = Succession()
    references = moved.registry.references
    assert references.outdated() == []
    references.refresh(moved.registry.look)
    assert references.outdated() == [("p", "m")]
    assert moved.peek() is None
    for _ in range(2):
        moved.registry.now += 250
        moved.change()
        references.refresh(moved.registry.look)
        assert references.outdated() == [("p", "m")]
        moved.get("a", is_use=False)
        moved.get("a", is_use=False)
        assert references.outdated() == []
    moved.registry.now += 100  # nobody has asked for it since the beginning
    moved.change()
    references.refresh(moved.registry.look)
    assert references.outdated() == []
    assert not references.are_used
    moved.get("a")
    assert references.are_used


def test_a_reference_that_means_nothing_any_more_is_forgotten() -> None:
    moved = Succession()
    references = moved.registry.references
    references.refresh(moved.registry.look)

    def gone() -> Any:
        raise KeyError

    with pytest.raises(KeyError):
        references.get(("p", "m"), gone)
    assert references.outdated() == []
    assert moved.get("b") == "b"


def test_the_former_does_not_answer_where_nobody_followed_what_it_means() -> None:
    moved = Succession()
    moved.registry.now += 600
    assert moved.get("b") == "b"
    assert moved.asked == []


def test_what_a_reference_means_is_settled_once_nothing_else_answers_for_it() -> None:
    registry, loading = Registry(), Future[None]()
    key = ("p", "m")
    registry.get("a")
    first = registry.references.generation
    assert registry.references.is_settled(key, first)
    assert not registry.references.is_settled(("p", "other"), first)
    registry.revision, registry.now = 2, registry.now + 2.1
    registry.references.refresh(registry.look)
    assert not registry.references.is_settled(key, first)
    assert registry.references.get(key, lambda: "b", lambda *_: loading) == "a"
    second = registry.references.generation
    assert not registry.references.is_settled(key, second), "the former model answers"
    loading.set_result(None)
    assert registry.references.peek(key) == "b"
    assert registry.references.is_settled(key, second)


def test_a_look_may_be_early() -> None:
    registry = Registry()
    registry.references.refresh(registry.look)
    registry.now += 0.9
    registry.references.refresh(registry.look, early=True)
    registry.now += 0.2
    registry.references.refresh(registry.look)
    assert registry.looks == [100.0]
    registry.references.refresh(registry.look, early=True)
    assert len(registry.looks) == 2
