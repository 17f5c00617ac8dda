"""What all bodies may take together, and what each project gets of it."""

import asyncio

import pytest

from app.errors import UnavailableError
from app.shares import memory as body_memory
from app.shares.memory import BodyMemory

MIB = 1 << 20


def test_all_together_are_bounded_and_each_project_keeps_what_is_reserved() -> None:
    memory = BodyMemory(32 * MIB)
    assert (memory.total, memory.of_one, memory.reserved) == (72 * MIB, 64 * MIB, 2 * MIB)
    assert memory.take("greedy", 64 * MIB)
    assert not memory.take("greedy", 1)  # more than one project may hold
    assert memory.take("second", 8 * MIB)
    assert not memory.take("third", 3 * MIB)  # the total is used up
    assert memory.take("third", 2 * MIB)  # but for what is reserved
    assert not memory.take("third", 1)
    assert memory.held == 74 * MIB
    memory.give_back("greedy", 64 * MIB)
    assert memory.take("third", 3 * MIB)


def test_what_is_given_back_is_free_again() -> None:
    memory = BodyMemory(32 * MIB)
    for _ in range(3):
        assert memory.take("p", 64 * MIB)
        memory.give_back("p", 64 * MIB)
    assert memory.held == 0


def test_a_request_waits_for_memory_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_memory, "WAIT_SECONDS", 0.1)
    memory = BodyMemory(32 * MIB)
    assert memory.take("p", 64 * MIB)

    async def given_back_meanwhile() -> None:
        waiting = asyncio.ensure_future(memory.wait_for("p", 10 * MIB))
        await asyncio.sleep(0)
        assert not waiting.done()
        memory.give_back("p", 64 * MIB)
        await waiting

    asyncio.run(given_back_meanwhile())
    with pytest.raises(UnavailableError):
        asyncio.run(memory.wait_for("p", 60 * MIB))
    assert memory.held == 10 * MIB
