"""What a tokenizer is: text to codes and back. It is data: a tokenizer.json holds these fields and never code.

Codes below FIRST mean the same for every kind: padding fills a row up at its end, unknown stands for a character
outside the vocabulary, mask hides a token, begin and end mark a text's limits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from app.ml.spec import Frozen

PADDING, UNKNOWN, MASK, BEGIN, END, FIRST = range(6)
MAX_TOKENS = 65_536  # that a vocabulary may have
REPLACEMENT = "\ufffd"  # what an unknown token is written as


class Tokenizer(Frozen, ABC):
    """A vocabulary of `size` codes, the ones below FIRST included."""

    kind: str
    knows_all: ClassVar[bool] = True  # whether no text has unknown tokens

    @property
    @abstractmethod
    def size(self) -> int:
        """How many codes there are."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The codes of every text, without begin, end or padding."""

    @abstractmethod
    def decode(self, codes: Sequence[int]) -> str:
        """Text of codes; the ones below FIRST say nothing, but unknown is U+FFFD."""

    @abstractmethod
    def characters(self) -> list[int]:
        """How many characters each code stands for, (size,): a text's codes add up to its characters."""

    @abstractmethod
    def pieces(self) -> list[str]:
        """Texts of single tokens, to make up specimens from."""
