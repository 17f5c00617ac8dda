"""The states of a job and the legal changes between them.

queued ─> preparing ─> running ─> finalizing ─> succeeded
  │  <──────┴────────────┴────────────┘ (requeued)  └──> failed
  └─> cancelled <── cancelling <── any state under a lease
"""

from typing import Literal

Status = Literal["queued", "preparing", "running", "finalizing", "cancelling", "cancelled", "succeeded", "failed"]

LEASED: frozenset[Status] = frozenset({"preparing", "running", "finalizing", "cancelling"})
TERMINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})
WORKING: frozenset[Status] = LEASED - {"cancelling"}

LEGAL: dict[Status, frozenset[Status]] = {
    "queued": frozenset({"preparing", "cancelled", "failed"}),
    "preparing": frozenset({"running", "cancelling", "failed", "queued"}),
    "running": frozenset({"finalizing", "cancelling", "failed", "queued"}),
    "finalizing": frozenset({"succeeded", "cancelling", "failed", "queued"}),
    "cancelling": frozenset({"cancelled"}),
    "cancelled": frozenset(),
    "succeeded": frozenset(),
    "failed": frozenset(),
}


def sources(to: Status) -> frozenset[Status]:
    """Return the states that may change to `to`."""
    return frozenset(status for status, targets in LEGAL.items() if to in targets)
