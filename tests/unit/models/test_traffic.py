"""Requests are dealt out by weight."""

from collections import Counter

import pytest

from app.aliases.traffic import choose

CHOICES = (("a", 70.0), ("b", 20.0), ("c", 10.0))


@pytest.mark.parametrize("by_key", [True, False])
def test_each_choice_gets_its_share(by_key: bool) -> None:
    counts = Counter(choose(CHOICES, str(number) if by_key else None, "salt") for number in range(10_000))
    assert counts["a"] == pytest.approx(7000, abs=300)
    assert counts["b"] == pytest.approx(2000, abs=300)
    assert counts["c"] == pytest.approx(1000, abs=300)
