"""Calls for one key are one call, whose result or error is everybody's; the next one calls anew."""

import asyncio
import threading

import pytest

from app.kit.single_flight import SingleFlight


class Call:
    """Counts its calls, and lasts until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.gate = threading.Event()
        self._error = error

    def __call__(self) -> int:
        self.count += 1
        assert self.gate.wait(240)
        if self._error is not None:
            raise self._error
        return self.count


def test_who_asks_while_it_is_fetched_shares_it() -> None:
    async def asked(call: Call) -> list[int]:
        flights = SingleFlight()
        waiting = [asyncio.ensure_future(flights.run("key", call)) for _ in range(5)]
        other = await flights.run("other", lambda: 7)  # another key waits for nobody
        call.gate.set()
        return [other, *await asyncio.gather(*waiting), await flights.run("key", call)]

    call = Call()
    assert asyncio.run(asked(call)) == [7, 1, 1, 1, 1, 1, 2]


def test_an_error_is_everybodys_and_is_not_kept() -> None:
    async def asked(call: Call) -> list[int | BaseException]:
        flights = SingleFlight()
        waiting = [asyncio.ensure_future(flights.run("key", call)) for _ in range(3)]
        await asyncio.sleep(0)
        call.gate.set()
        return [*await asyncio.gather(*waiting, return_exceptions=True), await flights.run("key", lambda: 5)]

    *errors, value = asyncio.run(asked(Call(OSError("damaged"))))
    assert [str(error) for error in errors] == ["damaged"] * 3
    assert value == 5


def test_one_who_gives_up_does_not_end_it_for_the_others() -> None:
    async def asked(call: Call) -> int:
        flights = SingleFlight()
        gone = asyncio.ensure_future(flights.run("key", call))
        kept = asyncio.ensure_future(flights.run("key", call))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        call.gate.set()
        return await kept

    assert asyncio.run(asked(Call())) == 1
