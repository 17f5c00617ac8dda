"""Which heads of a model answer a request."""

from collections.abc import Sequence
from difflib import get_close_matches

from app.errors import ErrorItem, UnprocessableError

_MAX_NAMED = 20


def chosen_heads(keys: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the keys of the heads that are asked for, in the model's order; None for all.

    A name that is no key may be several with commas between them.

    Raises:
        UnprocessableError: there is no such head.
    """
    if asked is None:
        return None
    names = [name for text in asked for name in ((text,) if text in keys else text.split(","))]
    unknown = [name for name in names if name not in keys]
    if unknown:
        raise _unknown_head(unknown[0], keys)
    return tuple(key for key in keys if key in names)


def only_head(keys: Sequence[str], asked: Sequence[str] | None) -> str:
    """Return the one head whose answers become an array. Raises UnprocessableError where there are several."""
    heads = chosen_heads(keys, asked) or tuple(keys)
    if len(heads) > 1:
        msg = f"an array holds the answers of one head: choose it with ?heads={heads[0]}; there are {_listed(heads)}"
        raise refuse_heads(msg, "several_heads")
    return heads[0]


def _unknown_head(name: str, keys: Sequence[str]) -> UnprocessableError:
    near = get_close_matches(name, keys, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return refuse_heads(f"there is no head {name[:200]!r}: {hint}there are {_listed(keys)}", "unknown_head")


def refuse_heads(msg: str, code: str) -> UnprocessableError:
    """Return the error for heads that cannot answer."""
    return UnprocessableError(f"heads: {msg}", code=code, errors=[ErrorItem(loc=["heads"], msg=msg)])


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
    return ", ".join(map(repr, keys[:_MAX_NAMED])) + more
