"""Types of events, and the patterns by which a webhook names those that it wants."""

from collections.abc import Iterable
from difflib import get_close_matches

from app.ml.spec import WarningCode

STATES = ("job.succeeded", "job.failed", "job.cancelled", "dataset.ready", "dataset.failed", "alias.moved")
TYPES = (*STATES, *(f"warning.{code}" for code in WarningCode))
TEST = "webhook.test"  # sent by POST /v1/webhooks/{id}/test alone


def matches(pattern: str, event_type: str) -> bool:
    """Whether a pattern names a type: the type itself, `job.*` for all that begin so, or `*` for all."""
    return pattern in ("*", event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))


def wants(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of the patterns names a type."""
    return any(matches(pattern, event_type) for pattern in patterns)


def known(pattern: str) -> str:
    """Return a pattern that names some type there is. Raises ValueError with the nearest type for any other."""
    if any(matches(pattern, event_type) for event_type in TYPES):
        return pattern
    nearest = get_close_matches(pattern, TYPES, 1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    msg = f"there is no such event: {hint}there are {', '.join(STATES)}, warning.CODE, and patterns: job.*, *"
    raise ValueError(msg)
