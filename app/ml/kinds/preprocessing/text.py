"""Choices for texts: what a token is, how many a row may have, and how texts are written before."""

from typing import Annotated, Literal

from pydantic import Field

from app.ml.errors import ConfigError
from app.ml.fields import Auto, Integer
from app.ml.interfaces import Choices, Encoding, PreprocessingConfig, PreprocessingRequest, ResolutionContext
from app.ml.interfaces.tokenizer import FIRST, MAX_TOKENS
from app.ml.spec import DataSpec

_SMALL, _LARGE = 500_000, 20_000_000  # characters of a train split, by its rows and the longest of them
_USUAL_TOKENS, _LONG_TOKENS = 512, 1024
_AFFORDABLE = 2_000_000  # tokens of an epoch for which longer rows are no burden
_MAX_BYTES = 4  # of a character
MIN_TOKENS = FIRST + 256  # every byte is known
LONGEST = 8192  # tokens of a row


Vocabulary = Annotated[Integer, Field(ge=MIN_TOKENS, le=MAX_TOKENS)]
MaxTokens = Annotated[Integer, Field(ge=4, le=LONGEST)]


class TextPreprocessing(PreprocessingRequest):
    """How texts become codes."""

    kind: Literal["text"] = "text"
    tokenizer: Literal["auto", "byte", "character", "bpe", "wordpiece"] = Field(
        "auto",
        description="What a token is; auto: a character of texts that are few and short, else byte pairs that are "
        "learned, which read longer texts; wordpiece comes with imported models alone.",
    )
    vocabulary: Auto[Vocabulary] = Field("auto", description="Most tokens to know; more are learned from more text.")
    max_tokens: Auto[MaxTokens] = Field(
        "auto", description="Most tokens of a row, its limits included; the rest of a longer text is cut off."
    )
    limits: Literal["auto", "marked", "open"] = Field(
        "auto", description="Whether codes mark where a text begins and ends; open: rows are pieces of one long text."
    )
    lowercase: bool = Field(default=False, strict=True, description="Write everything in small letters.")
    form: Literal["none", "nfc", "nfkc"] = Field(
        "nfc", description="Unicode normal form: nfc writes equal letters equally, nfkc also drops their style."
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedTextPreprocessing]":
        """Return the class of the resolved config."""
        return ResolvedTextPreprocessing

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` for a vocabulary that is not learned."""
        if self.tokenizer == "wordpiece":
            raise ConfigError(("tokenizer",), "a wordpiece vocabulary comes with an imported model: choose bpe")

    def choices(self, context: ResolutionContext) -> Choices:
        """Choose by how much text there may be."""
        text = context.train_rows * context.shape[0]
        marks = 0 if context.continuous else 2
        tokenizer = self.tokenizer
        if tokenizer == "auto":
            short = context.shape[0] + marks <= _USUAL_TOKENS
            tokenizer = "character" if short and text < _SMALL else "bpe"
        description = f"{context.train_rows} texts of up to {context.shape[0]} characters"
        usual = _usual_tokens(tokenizer, context.shape[0] + marks, context.train_rows)
        longest = max(4, min(usual, _MAX_BYTES * context.shape[0] + 2))
        pieces = "pieces of one text" if context.continuous else "texts that stand alone"
        return {
            "tokenizer": (
                tokenizer,
                f"{description} are {_WHY[tokenizer]}",
            ),
            "vocabulary": (_vocabulary(tokenizer, text), f"the usual size for {description}"),
            "max_tokens": (longest, f"at most {usual}, and no more than the longest text could have"),
            "limits": ("open" if context.continuous else "marked", f"the rows are {pieces}"),
        }


class ResolvedTextPreprocessing(TextPreprocessing, PreprocessingConfig):
    """The same with a known tokenizer and known sizes."""

    tokenizer: Literal["byte", "character", "bpe", "wordpiece"]
    vocabulary: Vocabulary
    max_tokens: MaxTokens
    limits: Literal["marked", "open"]

    def largest(self, spec: DataSpec) -> Encoding:
        """(T,), and the size of the vocabulary."""
        longest = _MAX_BYTES * spec.shape[0] + 2
        return Encoding(shape=(min(self.max_tokens, longest),), vocabulary=self.vocabulary)


_WHY = {
    "character": "few and short",
    "bpe": "enough to learn from, or longer than a context of characters",
    "byte": "read byte by byte",
}


def _usual_tokens(tokenizer: str, characters: int, rows: int) -> int:
    """Return the usual context; a longer one where texts need it, by half a token a character, and it is affordable."""
    needed = characters if tokenizer != "bpe" else characters // 2
    return _LONG_TOKENS if needed > _USUAL_TOKENS and rows * _LONG_TOKENS <= _AFFORDABLE else _USUAL_TOKENS


def _vocabulary(tokenizer: str, text: int) -> int:
    if tokenizer == "byte":
        return MIN_TOKENS
    if tokenizer == "character":
        return 4096
    return 2048 if text < _LARGE else 8192
