"""What a key and its project may hold at a time, and what is reserved for everybody else."""

import asyncio
from pathlib import Path

import pytest

from app.errors import TooLargeError, TooManyError
from app.keys.service import Principal
from app.settings import Settings
from app.shares.admission import Shares, Slot
from app.shares.limits import Limits, Pool
from app.shares.rates import Rates


def principal(project: str, key: str | None = None) -> Principal:
    return Principal(key_id=key or f"key of {project}", project_id=project, scopes=frozenset({"read"}))


def shares_of(total: int = 8, project: int = 8, key: int = 8, reserved: int = 1, **rates: float) -> Shares:
    return Shares(
        Limits(
            Pool(total, project, key, reserved),
            Pool(2, 2, 1, 1),
            rates.get("project_rate", 0),
            rates.get("key_rate", 0),
            1 << 20,
        )
    )


def entered(shares: Shares, owner: Principal) -> Slot:
    slot = shares.arrive()
    assert slot is not None
    try:
        slot.enter(owner)
    except TooManyError:
        slot.leave()
        raise
    return slot


def test_one_project_may_hold_all_and_others_still_get_what_is_reserved() -> None:
    shares = shares_of(total=8, reserved=3)
    held = [entered(shares, principal("greedy")) for _ in range(8)]
    with pytest.raises(TooManyError):
        entered(shares, principal("greedy"))
    for _ in range(3):
        entered(shares, principal("modest"))
    with pytest.raises(TooManyError):
        entered(shares, principal("modest"))
    assert shares.is_exhausted()
    assert shares.arrived == 0
    for slot in held:
        slot.leave()
        slot.leave()  # nothing is given back twice
    assert shares.requests.total == 3
    assert not shares.is_exhausted()


def test_a_key_leaves_something_to_the_other_keys_of_its_project() -> None:
    shares = shares_of(total=4, reserved=1)
    for _ in range(4):
        entered(shares, principal("p", "greedy"))
    entered(shares, principal("p", "modest"))
    with pytest.raises(TooManyError):
        entered(shares, principal("p", "modest"))


def test_keys_and_projects_have_caps() -> None:
    shares = shares_of(total=8, project=3, key=2)
    for _ in range(2):
        entered(shares, principal("p", "a"))
    assert shares.states()["requests"] == "a key holds its whole share"
    with pytest.raises(TooManyError):
        entered(shares, principal("p", "a"))
    entered(shares, principal("p", "b"))
    with pytest.raises(TooManyError):
        entered(shares, principal("p", "b"))
    entered(shares, principal("q"))
    refused = shares.arrive()
    assert refused is not None
    with pytest.raises(TooManyError):
        refused.enter(principal("p", "a"))
    assert refused.headers()[1] == (b"ratelimit", b'"requests";r=0')
    refused.leave()
    refused.leave()
    assert shares.arrived == 0


def test_a_stream_gives_its_request_back_and_has_a_share_of_its_own() -> None:
    shares = shares_of(total=1, reserved=1)
    stream = entered(shares, principal("p"))
    stream.become_stream()
    request = entered(shares, principal("p"))  # the only slot of requests is free again
    with pytest.raises(TooManyError) as caught:
        request.become_stream()
    assert (caught.value.code, caught.value.headers) == ("too_many_streams", {"Retry-After": "10"})
    request.leave()
    stream.leave()
    assert (shares.requests.total, shares.streams.total, shares.arrived) == (0, 0, 0)


def test_requests_without_a_key_do_not_use_up_the_slots_of_keys() -> None:
    shares = shares_of(total=2)
    assert all(shares.arrive() for _ in range(2))
    assert shares.arrive() is None
    shares = shares_of(total=2)
    owner = principal("p")
    for _ in range(2):
        entered(shares, owner)
    assert shares.arrive() is not None


def test_what_a_request_holds_is_told() -> None:
    shares = shares_of(total=8, project=6, key=4, key_rate=2)
    slot = entered(shares, principal("p"))
    policy, limit = slot.headers()
    assert policy == (b"ratelimit-policy", b'"requests";q=4;qu="concurrent-requests", "key";q=20;w=10')
    assert limit == (b"ratelimit", b'"requests";r=3, "key";r=19;t=1')
    arrived = shares.arrive()
    assert arrived is not None
    assert arrived.headers() == []


def test_what_is_reserved_is_told_where_nothing_else_is_left() -> None:
    shares = shares_of(total=8, reserved=4)
    slots = [entered(shares, principal("greedy")) for _ in range(8)]
    assert entered(shares, principal("modest")).headers()[1] == (b"ratelimit", b'"requests";r=3')
    assert slots[0].headers()[1] == (b"ratelimit", b'"requests";r=0')
    for slot in slots:
        slot.leave()
    assert list(shares.requests._of_key) == ["key of modest"]  # keys come and go: only those that hold something


def test_bodies_of_a_request_are_counted_together() -> None:
    shares = shares_of()
    slot = entered(shares, principal("p"))

    async def reserve() -> None:
        half = shares.memory.of_one // 2
        await slot.reserve(half)
        await slot.reserve(half)
        with pytest.raises(TooLargeError):
            await slot.reserve(2)

    asyncio.run(reserve())
    slot.leave()
    assert shares.memory.held == 0


def test_the_settings_say_what_a_key_and_a_project_may_hold(tmp_path: Path) -> None:
    chosen = {"key_requests": 3, "project_requests": 5, "key_streams": 2, "project_streams": 4}
    limits = Limits.of(Settings(data=tmp_path, **chosen))
    pools = limits.requests, limits.streams
    assert [(pool.key, pool.project) for pool in pools] == [(3, 5), (2, 4)]
    default = Limits.of(Settings(data=tmp_path)).requests
    assert default.key <= default.project <= default.total


def test_many_holders_leave_the_rates_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.shares.rates._MAX_BUCKETS", 2)
    rates = Rates(0.1, clock=lambda: 0.0)
    assert [rates.take("a"), rates.take("b"), rates.take("c")] == [0.0] * 3
    assert rates.take("a") > 0


def test_a_rate_lets_a_window_pass_at_once_and_then_no_more_than_the_rate() -> None:
    now = 0.0
    rates = Rates(2, clock=lambda: now)
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("b") == 0.0
    now = 0.6
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0
    now = 100.0
    assert rates.remaining("a") == 20
    assert rates.reset("a") == 0


def test_a_rate_says_when_to_come_again() -> None:
    shares = shares_of(key_rate=0.1)
    entered(shares, principal("p")).leave()
    with pytest.raises(TooManyError) as caught:
        entered(shares, principal("p"))
    assert caught.value.headers == {"Retry-After": "10"}
    entered(shares, principal("q"))
