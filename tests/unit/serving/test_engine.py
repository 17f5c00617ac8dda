import asyncio
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.serving.batching import Batcher
from app.serving.engine import Engine


class Echo:
    def __init__(self, **parts: int) -> None:
        self.family: Hashable = self
        self.parts = parts

    def decode(self, inputs: Sequence[Any]) -> NDArray[Any]:
        return np.asarray(inputs)

    def predict(self, rows: NDArray[Any]) -> list[dict[str, Any]]:
        return [{} for _ in rows]

    def embed(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return rows.astype(np.float32)


def refuse() -> Echo:
    msg = "loaded although it is in memory"
    raise AssertionError(msg)


def test_a_model_is_loaded_once_however_many_ask() -> None:
    engine, loads = Engine(4), []

    def load() -> Echo:
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return Echo()

    with ThreadPoolExecutor(8) as pool:
        predictors = list(pool.map(lambda _: engine.resident("m", load), range(32)))
    assert len(loads) == 1
    assert len(set(map(id, predictors))) == 1


def test_loading_one_model_does_not_hold_up_another() -> None:
    engine, gate = Engine(4), threading.Event()

    def slow() -> Echo:
        assert gate.wait(240)
        return Echo()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.resident, "slow", slow)
        engine.resident("fast", Echo)
        assert engine.loaded() == ["fast"]
        gate.set()
        waiting.result(240)
    assert set(engine.loaded()) == {"slow", "fast"}


def test_the_model_used_longest_ago_goes_first() -> None:
    engine = Engine(2)
    engine.resident("a", Echo)
    engine.resident("b", Echo)
    engine.resident("a", refuse)
    engine.resident("c", Echo)
    assert set(engine.loaded()) == {"a", "c"}


def test_asking_what_is_loaded_uses_no_model() -> None:
    engine = Engine(2)
    engine.resident("a", Echo)
    engine.resident("b", Echo)
    engine.resident("a", refuse)
    assert set(engine.loaded()) == {"a", "b"}
    engine.resident("c", Echo)
    engine.resident("a", refuse)


def test_a_failed_load_reaches_all_who_wait_and_is_tried_again() -> None:
    engine, asked = Engine(4), threading.Barrier(2)

    def damaged() -> Echo:
        asked.wait(240)
        time.sleep(0.05)
        msg = "damaged"
        raise OSError(msg)

    def second() -> None:
        asked.wait(240)
        engine.resident("m", refuse)

    with ThreadPoolExecutor(2) as pool:
        first, other = pool.submit(engine.resident, "m", damaged), pool.submit(second)
        for future in (first, other):
            with pytest.raises(OSError, match="damaged"):
                future.result(240)
    assert engine.loaded() == []
    engine.resident("m", Echo)
    assert engine.loaded() == ["m"]


def test_an_unloaded_model_is_loaded_anew() -> None:
    engine = Engine(4)
    first = engine.resident("m", Echo)
    engine.unload("m")
    assert engine.resident("m", Echo) is not first


def test_models_go_by_the_bytes_that_they_take_and_what_they_share_counts_once() -> None:
    engine = Engine(100, max_bytes=100)
    engine.resident("a", lambda: Echo(backbone=60, a=10))
    engine.resident("b", lambda: Echo(backbone=60, b=10))
    assert engine.bytes_in_use == 80
    engine.resident("c", lambda: Echo(c=30))
    assert engine.loaded() == ["b", "c"]  # the backbone stays for b
    assert engine.bytes_in_use == 100
    engine.unload("b")
    assert engine.bytes_in_use == 30
    engine.resident("large", lambda: Echo(large=500))
    assert engine.loaded() == ["large"]
    engine.resident("d", lambda: Echo(d=1))
    assert engine.loaded() == ["d"]
    assert engine.bytes_in_use == 1


def test_pinned_models_stay() -> None:
    engine = Engine(2)
    engine.pin(["a"])
    for model_id in ("a", "b", "c"):
        engine.resident(model_id, Echo)
    assert engine.loaded() == ["a", "c"]
    engine.pin([])
    engine.resident("d", Echo)
    assert engine.loaded() == ["c", "d"]


def test_a_model_dropped_while_it_loads_takes_no_room() -> None:
    engine, gate, begun = Engine(4), threading.Event(), threading.Event()

    def slow() -> Echo:
        begun.set()
        assert gate.wait(240)
        return Echo(slow=7)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.resident, "slow", slow)
        assert begun.wait(240)
        engine.unload("slow")
        gate.set()
        waiting.result(240)
    assert engine.loaded() == []
    assert engine.bytes_in_use == 0


def test_models_of_one_family_share_their_batchers() -> None:
    engine, family = Engine(4), object()

    def member() -> Echo:
        echo = Echo()
        echo.family = family
        return echo

    first, second, other = engine.resident("a", member), engine.resident("b", member), engine.resident("c", Echo)
    assert first.batchers is second.batchers
    assert other.batchers is not first.batchers


def test_the_longest_batch_of_all_families_is_told() -> None:
    engine = Engine(4)
    first, second = engine.resident("a", Echo), engine.resident("b", Echo)
    assert engine.seconds_of_longest_batch() == 0
    begun = threading.Event()
    go_on = threading.Event()

    def compute(rows: NDArray[Any], _: Any) -> list[Any]:
        begun.set()
        assert go_on.wait(240)
        return rows.tolist()

    async def ask() -> None:
        with ThreadPoolExecutor(1) as pool:
            second.batchers["predictions"] = Batcher(compute, pool)
            first.batchers["predictions"] = Batcher(compute, pool)
            answers = second.batchers["predictions"].submit(np.zeros((1, 1)))  # of no known cost: in a thread
            await asyncio.to_thread(begun.wait)
            seconds = engine.seconds_of_longest_batch()
            go_on.set()
            await answers
        assert seconds > 0
        assert engine.seconds_of_longest_batch() == 0

    asyncio.run(ask())
