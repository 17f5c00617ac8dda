"""Failpoints: places at which a test makes a process die or wait. Off unless an environment variable names one.

`GRAFTWORK_FAILPOINTS="checkpoint.stored=kill claim.committed=sleep:5@2"` acts when a process reaches a place, with `@N`
when it reaches it for the Nth time. Among the processes that share the folder `GRAFTWORK_FAILPOINTS_ONCE` a place acts
once only, and leaves a file of its name there. Failpoints cannot be set over HTTP.
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
    "submit.committed": "a job is queued, and nobody rung for it",
    "upload.stored": "an upload's bytes are kept, and no row names them",
    "claim.committed": "a job is claimed, and no trainer has it",
    "training.step": "a step is taken and reported to nobody",
    "checkpoint.stored": "a checkpoint's bytes are kept, and no row points to them",
    "checkpoint.pointed": "a row points to a checkpoint",
    "finish.before_commit": "all that a job made is in the transaction that ends it",
    "finish.committed": "a job has ended, and its trainer not yet",
    "cleanup.begun": "a supervisor cleans up after a trainer's death",
    "migration.begun": "a migration's transaction is open",
}
_ACTION = re.compile(r"^(kill|exit:\d{1,3}|sleep:\d+(?:\.\d+)?)(?:@(\d+))?$")


@dataclass(frozen=True, slots=True)
class _Action:
    what: str
    at: int | None  # each time where None


def parse(text: str) -> dict[str, _Action]:
    """Parse the action of each place. Raises ValueError for an unknown place or action."""
    actions = {}
    for item in text.split():
        place, _, what = item.partition("=")
        match = _ACTION.match(what)
        if place not in PLACES or match is None:
            msg = f"no failpoint {item!r}: places are {', '.join(PLACES)}; actions kill, exit:N, sleep:S"
            raise ValueError(msg)
        actions[place] = _Action(match[1], int(match[2]) if match[2] else None)
    return actions


_armed = parse(os.environ.get("GRAFTWORK_FAILPOINTS", ""))
_passed: Counter[str] = Counter()


def reach(place: str) -> None:
    """Act if this place is armed; does nothing in production."""
    if _armed:
        _act(place)


def _act(place: str) -> None:
    action = _armed.get(place)
    if action is None:
        return
    _passed[place] += 1
    if action.at in (None, _passed[place]) and _is_first(place):
        _do(action.what)


def _is_first(place: str) -> bool:
    folder = os.environ.get("GRAFTWORK_FAILPOINTS_ONCE")
    if not folder:
        return True
    try:
        (Path(folder) / place).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _do(what: str) -> None:
    name, _, number = what.partition(":")
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "exit":
        os._exit(int(number))
    else:
        time.sleep(float(number))
