"""The memory that bodies take while they are received, parsed and computed: one budget for all requests of a process.

What a body may take is reserved before it is read, and once more before it is parsed (`app.kit.json_outline` says how
much that is); it is given back when the request ends. Requests wait a little for their turn.
"""

import asyncio
import threading
import time

from app.errors import UnavailableError

WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_MIN_TOTAL_BYTES = 16 << 20


class BodyMemory:
    """A budget of 2.25 times the largest body, of which one project may hold twice the largest body.

    With that, and with what models compute with, the process takes less than four times the largest body more than
    when it is idle.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self.total = max(9 * max_body_bytes // 4, _MIN_TOTAL_BYTES)
        self.of_one = max(2 * max_body_bytes, 3 * _MIN_TOTAL_BYTES // 4)
        self.reserved = max(max_body_bytes // 16, 1 << 20)  # of each project, whatever others hold
        self.held = 0
        self._of_project: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, project_id: str, count: int) -> bool:
        """Reserve so many bytes; False where they are not free."""
        with self._lock:
            held = self._of_project.get(project_id, 0) + count
            if held > self.reserved and (held > self.of_one or self.held + count > self.total):
                return False
            self.held += count
            self._of_project[project_id] = held
            return True

    def give_back(self, project_id: str, count: int) -> None:
        """Free so many bytes."""
        with self._lock:
            self.held -= count
            self._of_project[project_id] -= count
            if not self._of_project[project_id]:
                del self._of_project[project_id]

    async def wait_for(self, project_id: str, count: int) -> None:
        """Reserve so many bytes once they are free. Raises UnavailableError where that takes more than 5 seconds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.take(project_id, count):
            if time.monotonic() > deadline:
                msg = "Large bodies take the memory that there is for them; nothing was done. Try again."
                raise UnavailableError(msg, code="busy")
            await asyncio.sleep(_LOOK_SECONDS)
