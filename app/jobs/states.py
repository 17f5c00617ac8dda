"""The states of a job and the legal changes between them.

queued ─> preparing ─> running ─> finalizing ─> succeeded
  │  <──────┴────────────┴────────────┘ (requeued)  └──> failed ─> queued (retried)
  ├─> cancelled <── cancelling <── any state under a lease     cancelled ─> queued (retried)
  └─> paused <── pausing <── preparing, running                paused ─> queued (resumed)

A job that is asked to pause at its very end ends.
"""

from typing import Literal, get_args

Status = Literal[
    "queued",
    "preparing",
    "running",
    "finalizing",
    "pausing",
    "paused",
    "cancelling",
    "cancelled",
    "succeeded",
    "failed",
]

LEASED: frozenset[Status] = frozenset({"preparing", "running", "finalizing", "pausing", "cancelling"})
TERMINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})

LEGAL: dict[Status, frozenset[Status]] = {
    "queued": frozenset({"preparing", "paused", "cancelled", "failed"}),
    "preparing": frozenset({"running", "pausing", "cancelling", "failed", "queued"}),
    "running": frozenset({"finalizing", "pausing", "cancelling", "failed", "queued"}),
    "finalizing": frozenset({"succeeded", "cancelling", "failed", "queued"}),
    "pausing": frozenset({"paused", "finalizing", "cancelling", "failed"}),
    "paused": frozenset({"queued", "cancelled"}),
    "cancelling": frozenset({"cancelled"}),
    "cancelled": frozenset({"queued"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),
}
LIVING: frozenset[Status] = frozenset(LEGAL) - TERMINAL


def sources(to: Status) -> frozenset[Status]:
    """Return the states that may change to `to`."""
    return frozenset(status for status, targets in LEGAL.items() if to in targets)


Device = Literal["auto", "cpu", "cuda"]  # that a job asks for; auto: a GPU where the worker has one
DEVICES: tuple[Device, ...] = get_args(Device)
