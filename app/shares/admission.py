"""Admits requests and streams by the shares of their key and project.

A request arrives without an owner, enters once its key is known, may become a stream, and leaves. All of that is
counting: it costs about a microsecond. A project, and a key within its project, always gets its reserved slots, however
many others hold; beyond them, who comes first is served first, up to the caps.
"""

import math
import os
import threading
from typing import Literal

from app.errors import TooLargeError, TooManyError
from app.keys.service import Principal
from app.shares.limits import Limits, Pool
from app.shares.memory import BodyMemory
from app.shares.rates import WINDOW_SECONDS, Rates
from app.shares.turns import Turns

Sort = Literal["requests", "streams"]
Header = tuple[bytes, bytes]
RETRY_SECONDS = 1
STREAM_RETRY_SECONDS = 10
_LARGE_BODY = (
    "The body holds more values than are read at once: send fewer rows in one request, or send them in a form that "
    "takes less memory (.npy; pictures as PNG)."
)
_LARGE_ANSWER = (
    "The answer would take more memory than one request may: send fewer rows, or ask for less of each (heads, top_k, "
    "digits) or for an array (Accept: application/x-npy); POST /v1/batch_predictions answers any number of rows."
)


class _Holders:
    """The slots of one sort that projects and keys hold."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.total = 0
        self._of_project: dict[str, int] = {}
        self._of_key: dict[str, int] = {}

    def take(self, principal: Principal) -> bool:
        """Take a slot; False where the share is exhausted."""
        pool = self.pool
        project = self._of_project.get(principal.project_id, 0)
        key = self._of_key.get(principal.key_id, 0)
        if project >= pool.project or key >= pool.key:
            return False
        if self.total >= pool.total and project >= pool.reserved and key >= pool.key_reserved():
            return False
        self.total += 1
        self._of_project[principal.project_id] = project + 1
        self._of_key[principal.key_id] = key + 1
        return True

    def give_back(self, principal: Principal) -> None:
        self.total -= 1
        for counts, holder in ((self._of_project, principal.project_id), (self._of_key, principal.key_id)):
            if counts[holder] == 1:
                del counts[holder]  # holders come and go: only those that hold something are kept
            else:
                counts[holder] -= 1

    def remaining(self, principal: Principal) -> int:
        """Return how many slots a key may still take."""
        pool = self.pool
        project = self._of_project.get(principal.project_id, 0)
        key = self._of_key.get(principal.key_id, 0)
        free = max(pool.total - self.total, pool.reserved - project, pool.key_reserved() - key)
        return max(0, min(pool.project - project, pool.key - key, free))

    def state(self) -> str:
        """Return "ok", or who has used up what."""
        if self.total >= self.pool.total:
            return f"all {self.pool.total} are taken: each project has those that are reserved for it"
        if max(self._of_key.values(), default=0) >= self.pool.key:
            return "a key holds its whole share"
        if max(self._of_project.values(), default=0) >= self.pool.project:
            return "a project holds its whole share"
        return "ok"


class Slot:
    """What a request holds, from its arrival to its end."""

    __slots__ = ("_bytes", "_has_left", "_held", "_shares", "principal")

    def __init__(self, shares: "Shares") -> None:
        self._shares = shares
        self._held: _Holders | None = None
        self._has_left = False
        self.principal: Principal | None = None
        self._bytes = 0  # of memory that are reserved for its body

    def enter(self, principal: Principal) -> None:
        """Take a slot of the key's share; nothing happens where the request holds it already.

        Raises:
            TooManyError: the share, or the rate, of the key or its project is exhausted.
        """
        if self._held is None:
            self.principal = principal
            self._held = self._shares.admit(principal)

    def become_stream(self) -> None:
        """Give the slot of a request back for that of a stream. Raises TooManyError where there is none."""
        assert self.principal is not None  # a stream is of somebody
        assert self._held is not None
        self._held = self._shares.admit_stream(self.principal, self._held)

    def reserve_now(self, count: int) -> bool:
        """Reserve memory for a body, on top of what is reserved; False where it is not free."""
        assert self.principal is not None  # nobody else's body is read
        is_free = self._shares.memory.take(self.principal.project_id, count)
        self._bytes += count if is_free else 0
        return is_free

    async def reserve(self, count: int) -> None:
        """Reserve memory for a body, on top of what is reserved, once it is free.

        Raises:
            TooLargeError: it would be more than one project may ever hold.
            UnavailableError: it is not free within seconds.
        """
        await self._reserve(count, _LARGE_BODY, "too_many_values")

    async def reserve_answer(self, count: int) -> None:
        """Reserve memory for an answer, on top of what is reserved; raises as `reserve`."""
        await self._reserve(count, _LARGE_ANSWER, "answer_too_large")

    async def _reserve(self, count: int, refusal: str, code: str) -> None:
        assert self.principal is not None  # as above
        memory = self._shares.memory
        if self._bytes + count > memory.of_one:
            raise TooLargeError(refusal, code=code)
        await memory.wait_for(self.principal.project_id, count)
        self._bytes += count

    def headers(self) -> list[Header]:
        """Return the headers RateLimit-Policy and RateLimit of an answer; none without a key."""
        return [] if self.principal is None else self._shares.headers(self.principal)

    def leave(self) -> None:
        """Give everything back."""
        if self._has_left:
            return
        self._has_left = True
        self._shares.dismiss(self.principal, self._held)
        if self._bytes and self.principal is not None:
            self._shares.memory.give_back(self.principal.project_id, self._bytes)


class Shares:
    """Counts what requests hold, in any thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.memory = BodyMemory(limits.max_body_bytes)
        self.reading = Turns(max(1, (os.cpu_count() or 1) // 2))
        self.arrived = 0  # requests whose key is not known yet, or that need none
        self.requests = _Holders(limits.requests)
        self.streams = _Holders(limits.streams)
        self._key_rates = Rates(limits.key_rate)
        self._project_rates = Rates(limits.project_rate)
        self._lock = threading.Lock()
        self._policy = self._policies()

    def arrive(self) -> Slot | None:
        """Count a request that has arrived; None where too many have that nobody is known to own."""
        with self._lock:
            if self.arrived >= self.limits.requests.total:
                return None
            self.arrived += 1
        return Slot(self)

    def admit(self, principal: Principal) -> _Holders:
        """Take a slot for an arrived request. Raises TooManyError."""
        with self._lock:
            wait = self._key_rates.take(principal.key_id) or self._project_rates.take(principal.project_id)
            is_admitted = not wait and self.requests.take(principal)
            self.arrived -= is_admitted
        if is_admitted:
            return self.requests
        if wait:
            msg = f"This key or its project asks too often; nothing was done. Try again in {math.ceil(wait)} s."
            raise TooManyError(msg, code="too_many_requests", retry_seconds=math.ceil(wait))
        msg = "Too many requests of this key or its project are under way; nothing was done. Try again."
        raise TooManyError(msg, code="too_many_requests", retry_seconds=RETRY_SECONDS)

    def admit_stream(self, principal: Principal, held: _Holders) -> _Holders:
        """Take a slot for a stream, and give back that of its request. Raises TooManyError."""
        with self._lock:
            if self.streams.take(principal):
                held.give_back(principal)
                return self.streams
        msg = (
            "Too many event streams of this key or its project are open: close some, or ask for the events without "
            "text/event-stream."
        )
        raise TooManyError(msg, code="too_many_streams", retry_seconds=STREAM_RETRY_SECONDS)

    def dismiss(self, principal: Principal | None, held: _Holders | None) -> None:
        """Count a request no longer."""
        with self._lock:
            if principal is None or held is None:
                self.arrived -= 1
            else:
                held.give_back(principal)

    def headers(self, principal: Principal) -> list[Header]:
        """Return the fields of draft-ietf-httpapi-ratelimit-headers-10 for the answer to a key."""
        with self._lock:
            limit = b'"requests";r=%d' % self.requests.remaining(principal)
            for name, rates, holder in self._rated(principal):
                limit += b', "%b";r=%d;t=%d' % (name, rates.remaining(holder), rates.reset(holder))
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", limit)]

    def is_exhausted(self) -> bool:
        """Whether nothing is left but what is reserved for projects that hold little."""
        with self._lock:
            return any(holders.total >= holders.pool.total for holders in (self.requests, self.streams))

    def states(self) -> dict[Sort, str]:
        """Return for each sort of slots "ok", or who has used up what."""
        with self._lock:
            return {"requests": self.requests.state(), "streams": self.streams.state()}

    def _rated(self, principal: Principal) -> list[tuple[bytes, Rates, str]]:
        rated = [
            (b"key", self._key_rates, principal.key_id),
            (b"project", self._project_rates, principal.project_id),
        ]
        return [entry for entry in rated if entry[1].quota]

    def _policies(self) -> bytes:
        pool = self.limits.requests
        policy = b'"requests";q=%d;qu="concurrent-requests"' % min(pool.key, pool.project, pool.total)
        for name, rates in ((b"key", self._key_rates), (b"project", self._project_rates)):
            if rates.quota:
                policy += b', "%b";q=%d;w=%d' % (name, rates.quota, WINDOW_SECONDS)
        return policy
