import pytest

from app.serving.memory import ShortMemory


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_looked_up_once_within_its_time() -> None:
    clock, looked = Clock(), []
    memory: ShortMemory[str, int] = ShortMemory(2.0, clock=clock)

    def look_up() -> int:
        looked.append(clock.now)
        return len(looked)

    assert [memory.get("a", look_up), memory.get("a", look_up)] == [1, 1]
    clock.now += 1.9
    assert memory.get("a", look_up) == 1
    clock.now += 0.2
    assert memory.get("a", look_up) == 2


def test_the_time_counts_from_before_the_look_up() -> None:
    clock = Clock()
    memory: ShortMemory[str, int] = ShortMemory(2.0, clock=clock)

    def slow() -> int:
        clock.now += 1.5
        return 1

    memory.get("a", slow)
    clock.now += 1.0
    assert memory.get("a", lambda: 2) == 2


def test_what_is_forgotten_during_a_look_up_is_not_kept() -> None:
    memory: ShortMemory[str, int] = ShortMemory(60)

    def overtaken() -> int:
        memory.forget()
        return 1

    assert memory.get("a", overtaken) == 1
    assert memory.get("a", lambda: 2) == 2
    memory.forget()
    assert memory.get("a", lambda: 3) == 3


def test_errors_are_not_remembered() -> None:
    memory: ShortMemory[str, int] = ShortMemory(60)

    def missing() -> int:
        raise KeyError

    with pytest.raises(KeyError):
        memory.get("a", missing)
    assert memory.get("a", lambda: 1) == 1


def test_it_does_not_grow_without_end() -> None:
    memory: ShortMemory[int, int] = ShortMemory(60, size=10)
    for number in range(100):
        memory.get(number, lambda number=number: number)
    assert len(memory._known) <= 10
    assert memory.get(99, lambda: -1) == 99, "what was used last stays"
