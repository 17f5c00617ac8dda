"""Failpoints: places in the code at which tests make a process die or wait; set by environment variables only.

`GRAFTWORK_FAILPOINTS="checkpoint.stored=kill claim.committed=sleep:5@2"` acts when a process reaches a place, with `@N`
when it reaches it for the Nth time. Processes that share the folder `GRAFTWORK_FAILPOINTS_ONCE` act at a place only
once together: the first one leaves a file of that name there.
"""

import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PLACES = {
    "submit.before_commit": "a job is added to the transaction of its request",
    "submit.committed": "a job is queued, and no worker was woken",
    "upload.stored": "an upload's bytes are stored, and no row names them",
    "upload.part_stored": "a part's bytes are stored, and no row names them",
    "upload.assembled": "the parts of an upload are stored as one file, and its row does not say so",
    "claim.committed": "a job is claimed, and no trainer has it",
    "training.step": "a training step is done, and not reported",
    "checkpoint.stored": "a checkpoint's bytes are stored, and no row names them",
    "checkpoint.pointed": "a row names a stored checkpoint",
    "finish.before_commit": "a job's results are in the transaction that ends it",
    "finish.committed": "a job has ended, and its trainer still runs",
    "cleanup.begun": "a supervisor cleans up after a trainer's death",
    "webhook.sent": "a message was sent to a receiver, and its row does not say so",
    "migration.begun": "a migration's transaction is open",
}
_ACTION = re.compile(r"^(kill|exit:\d{1,3}|sleep:\d+(?:\.\d+)?)(?:@(\d+))?$")


@dataclass(frozen=True, slots=True)
class _Action:
    effect: str  # kill, exit:N or sleep:S
    at: int | None  # the number of the visit that it acts on; None: every visit


def parse(text: str) -> dict[str, _Action]:
    """Parse the action of each place. Raises ValueError for an unknown place or action."""
    actions = {}
    for item in text.split():
        place, _, action = item.partition("=")
        match = _ACTION.match(action)
        if place not in PLACES or match is None:
            msg = f"no failpoint {item!r}: places are {', '.join(PLACES)}; actions kill, exit:N, sleep:S"
            raise ValueError(msg)
        actions[place] = _Action(match[1], int(match[2]) if match[2] else None)
    return actions


_armed = parse(os.environ.get("GRAFTWORK_FAILPOINTS", ""))
_visits: Counter[str] = Counter()


def reach(place: str) -> None:
    """Perform the action set for this place, if there is one; there is none in production."""
    if _armed:
        _act(place)


def _act(place: str) -> None:
    action = _armed.get(place)
    if action is None:
        return
    _visits[place] += 1
    if action.at in (None, _visits[place]) and _is_first(place):
        _perform(action.effect)


def _is_first(place: str) -> bool:
    """Whether no other process has acted at this place; always, where they share no folder."""
    folder = os.environ.get("GRAFTWORK_FAILPOINTS_ONCE")
    if not folder:
        return True
    try:
        (Path(folder) / place).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _perform(effect: str) -> None:
    name, _, number = effect.partition(":")
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "exit":
        os._exit(int(number))
    else:
        time.sleep(float(number))
