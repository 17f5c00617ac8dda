"""The gang of a job of several nodes, as its leader sees it: gathered, called together, and let go at the end.

`app.jobs.gangs` keeps it in SQL; `worker.distributed` trains on it.
"""

import logging
import time
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.jobs import gangs
from app.jobs import lease as leases
from worker.attempt.address import own_address
from worker.attempt.context import JobContext

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_TELL_SECONDS = 2.0


class TooFewWorkersError(Exception):
    """The gang did not come together in time; `wait` is for how many seconds the job is then left alone."""

    def __init__(self, count: int, nodes: int, wait: float) -> None:
        super().__init__(f"{count} of {nodes} workers were free at the same time; it is tried again.")
        self.wait = wait


@dataclass
class Gang:
    """The nodes of a gang that has come together: a `worker.distributed.leader.Nodes`."""

    context: JobContext
    count: int
    host: str
    device: str  # the kind that all ranks compute on
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def call(self, address: str) -> None:
        """Let the ranks of the other nodes come to an address (host:port)."""

        def call(session: Session) -> None:
            leases.hold(session, self.context.attempt.lease)
            gangs.call(session, self.context.attempt.lease, address)

        self._began = time.monotonic()
        self.context.attempt.commit_with_retry(call)

    def look(self) -> None:
        """Tell now and then that the other nodes prepare. Raises `DrainedError`, and as `Attempt.say` does."""
        self.context.stop_if_draining()
        now = time.monotonic()
        if now - self._said >= _TELL_SECONDS:
            self._said = now
            self.context.attempt.say(f"waiting for the other workers ({now - self._began:.0f} s)")

    def wait_for_loss(self) -> None:
        """Wait until the supervisor has seen that a node is lost, and kills this process; else for a lease."""
        time.sleep(2 * self.context.settings.lease_seconds)

    def part(self) -> None:
        """Let the other workers go: what is left of the job is done here."""
        self.context.attempt.commit_with_retry(lambda session: gangs.part(session, self.context.attempt.lease))


def gather(context: JobContext) -> Gang | None:
    """Wait until all nodes of the job are taken, or, where it has a checkpoint, for as many as come in time.

    A job that has waited for very long waits on, with those that are there. None for a job of one node.

    Raises:
        TooFewWorkersError: they were not all free at the same time.
        DrainedError: the worker is to let go of the job.
    """
    attempt, nodes = context.attempt, context.attempt.lease.nodes
    if nodes == 1:
        return None
    wait = attempt.commit_with_retry(
        lambda session: gangs.patience(session, attempt.lease, context.settings.gang_seconds)
    )
    least, began = 1 if attempt.checkpoints() else nodes, time.monotonic()
    said = -1
    while True:
        context.stop_if_draining()
        waited = time.monotonic() - began
        count, has_begun = _look(context, nodes if waited < wait else least)
        if has_begun:
            break
        if waited >= wait and not _holds(context):
            raise TooFewWorkersError(count, nodes, wait)
        if int(waited / _TELL_SECONDS) != said:
            said = int(waited / _TELL_SECONDS)
            attempt.say(f"gathering workers: {count} of {nodes} ({waited:.0f} s)")
        time.sleep(_LOOK_SECONDS)
    message = f"{count} workers train together." if count == nodes else f"{count} of {nodes} workers go on together."
    attempt.record_event("gang.gathered", message, {"nodes": count, "asked": nodes, "seconds": waited})
    device = attempt.commit_with_retry(lambda session: gangs.device_of(session, attempt.lease))
    return Gang(context, count, own_address(context.settings), device)


def _holds(context: JobContext) -> bool:
    lease = context.attempt.lease
    return context.attempt.commit_with_retry(lambda session: gangs.holds(session, lease))


def _look(context: JobContext, least: int) -> tuple[int, bool]:
    """How many nodes are taken, and whether they are enough: then no more are."""
    lease = context.attempt.lease

    def look(session: Session) -> tuple[int, bool]:
        leases.hold(session, lease)
        count = gangs.begin(session, lease, least)
        return (gangs.count_members(session, lease), False) if count is None else (count, True)

    return context.attempt.commit_with_retry(look)
