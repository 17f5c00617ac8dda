"""A text that grows token by token, handed out in pieces as far as nothing that comes can change it or take it back.

Two ends of a text are kept back. A character may be the first bytes of another one, and is U+FFFD until the others
come; and what may be the beginning of a stop string would be cut off with it.
"""

from collections.abc import Sequence

from app.ml.interfaces.tokenizer import REPLACEMENT, Tokenizer


class GrowingText:
    """The text of codes that come one by one. All that it hands out is, joined, the text that it ends with."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._read = 0  # codes that are whole characters, and so in `_kept_back` or handed out
        self._kept_back = ""
        self._handed_out = 0  # characters
        self.has_ended = False

    def grow(self, codes: Sequence[int]) -> str:
        """Return what is certain of the text of all `codes` so far, and was not returned before."""
        text = self._tokenizer.decode(codes[self._read :])
        if not text.endswith(REPLACEMENT):
            self._read = len(codes)
            self._kept_back += text
        certain = len(self._kept_back) - self._beginning_of_stop()
        text, self._kept_back = self._kept_back[:certain], self._kept_back[certain:]
        self._handed_out += certain
        return text

    def end(self, text: str) -> str:
        """Return what was not returned yet of the whole text."""
        self.has_ended = True
        rest = text[self._handed_out :]
        self._handed_out = len(text)
        return rest

    def _beginning_of_stop(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        return max((self._overlap(stop) for stop in self._stops), default=0)

    def _overlap(self, stop: str) -> int:
        lengths = range(min(len(stop) - 1, len(self._kept_back)), 0, -1)
        return next((length for length in lengths if self._kept_back.endswith(stop[:length])), 0)
