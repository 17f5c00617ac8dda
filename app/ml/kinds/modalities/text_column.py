"""A column of texts in a table: tf-idf of their words, reduced to at most 64 features."""

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr

from app.ml.data.words import CODES, MAX_WORDS, Cells, cells_of, codes_of, digest
from app.ml.fields import Integer
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.columns import Column
from app.ml.kinds.modalities.decoding import DecodingError
from app.ml.kinds.modalities.word_vectors import WordVectors
from app.ml.spec import ColumnSpec, WarningCode

_MIN_WORDS = 4  # of which most are unknown: fewer are no doubt
_EXAMPLE = "a text of some words"


class TextColumn(Column):
    """A fitted column of texts. Its place in a stored row holds a digest; the codes of its words follow all columns."""

    type: Literal["text"] = "text"
    dimensions: Integer = Field(ge=0, description="Features that its words become; their vectors are in words.npz.")
    _words: WordVectors | None = PrivateAttr(None)

    @classmethod
    def fit(cls, column: ColumnSpec, cells: Cells, *, had_missing: bool) -> Self:
        """Learn from the codes of the train rows' words (N, 128)."""
        words = WordVectors.fit(cells)
        fitted = cls(
            name=column.name, nullable=column.nullable, had_missing=had_missing, dimensions=words.vectors.shape[1]
        )
        return fitted.with_words(words)

    def with_words(self, words: WordVectors) -> Self:
        """Return the column with what words.npz holds."""
        column = self.model_copy()
        column._words = words  # noqa: SLF001 - its own
        return column

    @property
    def words(self) -> WordVectors:
        """Its vectors."""
        assert self._words is not None, "they are read with the model's files"
        return self._words

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return self.dimensions + self.had_missing

    @property
    def example(self) -> str:
        """Some text."""
        return _EXAMPLE

    def specimens(self, count: int, random: np.random.Generator) -> Rows:
        """Made-up digests, and now and then a missing text where that is understood; (count,)."""
        return self._specimens(random.integers(0, 1 << 40, count).astype(np.float64), random)

    def word_specimens(self, count: int, random: np.random.Generator) -> Cells:
        """Codes of up to 128 words, most of which train rows had; (count, 128)."""
        cells = random.choice(np.append(np.flatnonzero(self.words.weight), CODES - 1), (count, MAX_WORDS))
        return np.where(np.arange(MAX_WORDS) < random.integers(0, MAX_WORDS, (count, 1)), cells, np.nan)

    def decode(self, value: Any, doubts: Doubts) -> float:
        """A text to its digest, NaN where it is missing."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return self._missing("text", doubts)
        if not isinstance(value, str):
            msg = f"expected a text, not a {type(value).__name__}"
            raise DecodingError(msg, self.name)
        codes = codes_of(value)
        if len(codes) >= _MIN_WORDS and 2 * self.words.known(codes) < len(codes):
            doubts.add(WarningCode.UNKNOWN_TOKENS, self.name, "most of its words are in no training row")
        return digest(value)


def word_cells(value: Any) -> Cells:
    """Return the codes (128,) of the words of a text that was decoded."""
    cells: Cells = cells_of([value if isinstance(value, str) else ""])[0]
    return cells
