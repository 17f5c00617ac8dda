"""Characters as tokens: the alphabet of the train split, the most frequent first; any other is unknown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.ml.interfaces.tokenizer import FIRST, MAX_TOKENS, REPLACEMENT, UNKNOWN, Tokenizer


class CharacterTokenizer(Tokenizer):
    """Code 5 + i is alphabet[i]."""

    kind: Literal["character"] = "character"
    knows_all: ClassVar[bool] = False
    alphabet: str = Field(min_length=1, max_length=MAX_TOKENS - FIRST, description="The known characters.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.alphabet)) != len(self.alphabet):
            msg = "a character stands twice in the alphabet"
            raise ValueError(msg)
        return self

    @classmethod
    def fit(cls, texts: Iterable[str], size: int) -> Self:
        """Take the most frequent characters, of equally frequent ones the lower code point; `size` codes at most."""
        counts = Counter[str]()
        for text in texts:
            counts.update(text)
        ranked = sorted(counts, key=lambda character: (-counts[character], character))
        return cls(alphabet="".join(ranked[: size - FIRST]))

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {character: FIRST + place for place, character in enumerate(self.alphabet)}

    @property
    def size(self) -> int:
        """The alphabet and the common codes."""
        return FIRST + len(self.alphabet)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """One code a character."""
        codes = self._codes
        return [[codes.get(character, UNKNOWN) for character in text] for text in texts]

    def decode(self, codes: Sequence[int]) -> str:
        """One character a code."""
        return "".join(self._written(code) for code in codes)

    def characters(self) -> list[int]:
        """1 for an unknown and for each of the alphabet."""
        return [0, 1, 0, 0, 0, *(1 for _ in self.alphabet)]

    def pieces(self) -> list[str]:
        """The alphabet."""
        return list(self.alphabet)

    def _written(self, code: int) -> str:
        if code >= FIRST:
            return self.alphabet[code - FIRST]
        return REPLACEMENT if code == UNKNOWN else ""
