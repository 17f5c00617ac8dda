"""The warnings of answers as warnings of Python."""

import sys
import warnings

from graftwork.answer import Json
from graftwork.errors import GraftworkWarning


class Doubts:
    """Issues the warnings of answers, each once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def report(self, answer: Json) -> None:
        """Issue the warnings of an answer as `GraftworkWarning`."""
        for warning in answer.get("warnings") or ():
            remedy = f" ({warning['remedy']})" if warning.get("remedy") else ""
            message = f"{warning['code']}: {warning['message']}{remedy}"
            if message not in self._reported:
                self._reported.add(message)
                warnings.warn(message, GraftworkWarning, stacklevel=outside_the_client())


def outside_the_client() -> int:
    """Return the `stacklevel` of the code that called the client, as seen from the caller of this function."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - as the warnings module itself does
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "graftwork":
        frame, level = frame.f_back, level + 1
    return level
