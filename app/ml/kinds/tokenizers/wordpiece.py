"""WordPiece: words cut greedily into the longest known pieces; a piece that continues a word begins with ##.

Schuster and Nakajima, "Japanese and Korean voice search", 2012; as BERT does it (Devlin et al., 2019): control
characters go, Chinese characters stand alone, an uncased vocabulary has neither capitals nor accents, punctuation cuts
words, and a word without pieces, or of more than a hundred letters, is unknown as a whole. The `tokenizers` library
applies it. A vocabulary is imported with a model and never learned here: byte pairs are what one learns.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.ml.interfaces.tokenizer import FIRST, MAX_TOKENS, REPLACEMENT, UNKNOWN, Tokenizer

if TYPE_CHECKING:
    import tokenizers

GOES_ON = "##"
MAX_WORD = 100  # characters, as in BERT
UNKNOWN_WORD = "[UNK]"
Piece = Annotated[str, Field(min_length=1, max_length=MAX_WORD + len(GOES_ON))]


class WordPieceTokenizer(Tokenizer):
    """Code 5 + i is tokens[i]."""

    kind: Literal["wordpiece"] = "wordpiece"
    knows_all: ClassVar[bool] = False
    tokens: tuple[Piece, ...] = Field(
        min_length=1, max_length=MAX_TOKENS - FIRST, description="The known pieces; ## goes on with a word."
    )
    uncased: bool = Field(default=True, description="Whether capitals and accents are taken off.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({*self.tokens, UNKNOWN_WORD}) <= len(self.tokens):
            msg = f"a token stands twice in the vocabulary, or is {UNKNOWN_WORD}"
            raise ValueError(msg)
        return self

    @cached_property
    def _engine(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer as Engine  # noqa: PLC0415 - only where texts are encoded
        from tokenizers import models, normalizers, pre_tokenizers  # noqa: PLC0415 - the same

        codes = {token: FIRST + place for place, token in enumerate(self.tokens)} | {UNKNOWN_WORD: UNKNOWN}
        model = models.WordPiece(vocab=codes, unk_token=UNKNOWN_WORD, max_input_chars_per_word=MAX_WORD)
        engine = Engine(model)
        engine.normalizer = normalizers.BertNormalizer(lowercase=self.uncased)
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return engine

    @property
    def size(self) -> int:
        """The common codes and the tokens."""
        return FIRST + len(self.tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of every word. No text can write a common code: [SEP] is three tokens."""
        return [self._engine.encode(text).ids for text in texts]

    def decode(self, codes: Sequence[int]) -> str:
        """A blank before every word; what stood between words is not kept."""
        return "".join(self._written(code) for code in codes)

    def characters(self) -> list[int]:
        """The letters of each token; blanks between words are no token's."""
        return [0, 1, 0, 0, 0, *(len(token.removeprefix(GOES_ON)) for token in self.tokens)]

    def pieces(self) -> list[str]:
        """A blank and a whole word, of ASCII letters."""
        return [f" {token}" for token in self.tokens if token.isascii() and token.isalpha()] or [" a"]

    def _written(self, code: int) -> str:
        if code < FIRST:
            return f" {REPLACEMENT}" if code == UNKNOWN else ""
        token = self.tokens[code - FIRST]
        return token.removeprefix(GOES_ON) if token.startswith(GOES_ON) else f" {token}"
