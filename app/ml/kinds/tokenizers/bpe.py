"""Byte pair encoding: bytes of UTF-8, and the pairs that are merged in order, learned from the train split.

Gage, "A new algorithm for data compression", 1994; Sennrich, Haddow and Birch, "Neural machine translation of rare
words with subword units", 2016; over bytes and within words as Radford et al., "Language models are unsupervised
multitask learners", 2019. The `tokenizers` library learns and applies the merges; they alone are kept.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from app.ml.interfaces.tokenizer import FIRST, MAX_TOKENS, Tokenizer
from app.ml.kinds.tokenizers.byte import CONTINUATION

if TYPE_CHECKING:
    import tokenizers

MAX_TOKEN = 64  # bytes
Part = Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)]
Merge = tuple[Part, Part]


def _alphabet() -> list[str]:
    """A printable letter for each byte, in the order of bytes: itself where it is printable, else from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


LETTERS = _alphabet()
_BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}


class BpeTokenizer(Tokenizer):
    """The common codes, 256 bytes, then a code for every new token that a merge makes."""

    kind: Literal["bpe"] = "bpe"
    merges: tuple[Merge, ...] = Field(
        max_length=MAX_TOKENS, description="Pairs of tokens, in the order in which they are merged; a letter a byte."
    )

    @model_validator(mode="after")
    def _grow_from_bytes(self) -> Self:
        known = set(LETTERS)
        for left, right in self.merges:
            if left not in known or right not in known or len(left + right) > MAX_TOKEN:
                msg = "a merge joins what is no token yet, or makes one that is too long"
                raise ValueError(msg)
            known.add(left + right)
        return self

    @classmethod
    def fit(cls, texts: Iterable[str], size: int) -> Self:
        """Learn merges until there are `size` codes, or no pair occurs twice."""
        from tokenizers import Tokenizer as Engine  # noqa: PLC0415 - only where merges are learned
        from tokenizers import models, pre_tokenizers, trainers  # noqa: PLC0415 - the same

        engine = Engine(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=max(256, size - FIRST),
            min_frequency=2,
            show_progress=False,
            initial_alphabet=LETTERS,
            max_token_length=MAX_TOKEN,
        )
        engine.train_from_iterator(texts, trainer)
        return cls(merges=tuple((left, right) for left, right in json.loads(engine.to_str())["model"]["merges"]))

    @cached_property
    def _tokens(self) -> list[str]:
        """Every token in the order of codes, from FIRST on."""
        return list(dict.fromkeys([*LETTERS, *(left + right for left, right in self.merges)]))

    @cached_property
    def _engine(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer as Engine  # noqa: PLC0415 - only where texts are encoded
        from tokenizers import models, pre_tokenizers  # noqa: PLC0415 - the same

        codes = {token: FIRST + place for place, token in enumerate(self._tokens)}
        engine = Engine(models.BPE(vocab=codes, merges=list(self.merges)))
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return engine

    @property
    def size(self) -> int:
        """The common codes, bytes and merged tokens."""
        return FIRST + len(self._tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Merge within words; nothing is unknown."""
        return [self._engine.encode(text).ids for text in texts]

    def decode(self, codes: Sequence[int]) -> str:
        """What is no UTF-8 becomes U+FFFD."""
        return b"".join(map(self._bytes, codes)).decode(errors="replace")

    def characters(self) -> list[int]:
        """How many bytes of each token begin a character."""
        counts = [sum(_BYTES[letter] not in CONTINUATION for letter in token) for token in self._tokens]
        return [0, 1, 0, 0, 0, *counts]

    def pieces(self) -> list[str]:
        """The tokens that are whole characters, and printable."""
        texts = (bytes(_BYTES[letter] for letter in token).decode(errors="replace") for token in self._tokens)
        return [text for text in texts if text.isprintable() and text.isascii()]

    def _bytes(self, code: int) -> bytes:
        return bytes(_BYTES[letter] for letter in self._tokens[code - FIRST]) if code >= FIRST else b""
