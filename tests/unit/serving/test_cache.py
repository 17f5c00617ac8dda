import pytest

from app.serving.cache import ExpiringCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_look_ups_up_once_within_its_time() -> None:
    clock, look_ups = Clock(), []
    cache: ExpiringCache[str, int] = ExpiringCache(2.0, clock=clock)

    def look_up() -> int:
        look_ups.append(clock.now)
        return len(look_ups)

    assert [cache.get("a", look_up), cache.get("a", look_up)] == [1, 1]
    clock.now += 1.9
    assert cache.get("a", look_up) == 1
    clock.now += 0.2
    assert cache.get("a", look_up) == 2


def test_the_time_counts_from_before_the_look_up() -> None:
    clock = Clock()
    cache: ExpiringCache[str, int] = ExpiringCache(2.0, clock=clock)

    def slow() -> int:
        clock.now += 1.5
        return 1

    cache.get("a", slow)
    clock.now += 1.0
    assert cache.get("a", lambda: 2) == 2


def test_what_is_forgotten_during_a_look_up_is_not_kept() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(60)

    def overtaken() -> int:
        cache.clear()
        return 1

    assert cache.get("a", overtaken) == 1
    assert cache.get("a", lambda: 2) == 2
    cache.clear()
    assert cache.get("a", lambda: 3) == 3


def test_errors_are_not_remembered() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(60)

    def missing() -> int:
        raise KeyError

    with pytest.raises(KeyError):
        cache.get("a", missing)
    assert cache.get("a", lambda: 1) == 1


def test_it_does_not_grow_without_end() -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(60, size=10)
    for number in range(100):
        cache.get(number, lambda number=number: number)
    assert len(cache._entries) <= 10
    assert cache.get(99, lambda: -1) == 99, "what was used last stays"
