"""Rates of requests by key and project: a bucket of `WINDOW_SECONDS` worth of requests that refills steadily.

The bucket is kept as the time at which it will be full again (the generic cell rate algorithm of ATM Forum TM 4.0), so
that a request costs one look-up and one addition.
"""

import time
from collections.abc import Callable

WINDOW_SECONDS = 10
_MAX_BUCKETS = 10_000


class Rates:
    """Counts requests of any number of holders against one rate, in requests per second; 0 lets everything pass."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = 1 / rate if rate else 0.0
        self._full_at: dict[str, float] = {}
        self.quota = max(1, int(rate * WINDOW_SECONDS)) if rate else 0

    def take(self, holder: str) -> float:
        """Count a request and return 0; or count nothing and return the seconds until another one may come."""
        if not self.quota:
            return 0.0
        now = self._clock()
        full_at = max(now, self._full_at.get(holder, now)) + self._seconds
        wait = full_at - now - self.quota * self._seconds
        if wait > 1e-9:  # noqa: PLR2004 - below it is rounding
            return wait
        if len(self._full_at) >= _MAX_BUCKETS:
            self._full_at = {other: at for other, at in self._full_at.items() if at > now}
        self._full_at[holder] = full_at
        return 0.0

    def remaining(self, holder: str) -> int:
        """Return how many requests may come at once."""
        missing = max(0.0, self._full_at.get(holder, 0.0) - self._clock())
        return self.quota - round(missing / self._seconds + 0.499) if self.quota else 0

    def reset(self, holder: str) -> int:
        """Return the seconds until the bucket is full again."""
        return max(0, round(self._full_at.get(holder, 0.0) - self._clock() + 0.499))
