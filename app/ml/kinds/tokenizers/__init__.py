"""Tokenizers: text to codes and back. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.tokenizers.bpe import BpeTokenizer
from app.ml.kinds.tokenizers.byte import ByteTokenizer
from app.ml.kinds.tokenizers.character import CharacterTokenizer
from app.ml.kinds.tokenizers.wordpiece import WordPieceTokenizer

AnyTokenizer = Annotated[
    ByteTokenizer
    | CharacterTokenizer
    | BpeTokenizer
    | WordPieceTokenizer,
    Field(discriminator="kind"),
]  # fmt: skip
