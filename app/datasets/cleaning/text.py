"""Normalises texts (Unicode, blanks, case, entities), and removes those that are too short or too long.

Pieces of one long text keep their blanks and lengths, which are part of it. Texts that a model gets later are not
cleaned: differences that it has to ignore there (case, Unicode form) belong into its own preprocessing.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.frames.texts import Texts, write_texts

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MAX_CHARACTERS = 1 << 20


class Text(CleaningStep):
    """Normalise texts, and remove those that are too short or too long."""

    modalities = ("text",)
    kind: Literal["text"] = "text"
    unicode: Literal["NFC", "NFKC"] | None = Field(
        default="NFC",
        description="Unicode form: NFC composes letters, NFKC also unifies widths and styles; null: as it is.",
    )
    strip: bool = Field(default=True, description="Remove blanks at both ends.")
    collapse: bool = Field(default=False, description="Replace each run of blanks and line ends by one blank.")
    control: bool = Field(default=False, description="Remove control characters, except tabs and line ends.")
    lower: bool = Field(default=False, description="Convert to lower case.")
    entities: bool = Field(default=False, description="Replace HTML entities by their characters: &amp; becomes &.")
    shortest: int = Field(default=1, ge=0, le=MAX_CHARACTERS, description="Texts of fewer characters are removed.")
    longest: int | None = Field(
        default=None, ge=1, le=MAX_CHARACTERS, description="Texts of more characters are removed; null: none are."
    )

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.longest is not None and self.longest < self.shortest:
            msg = f"longest is at least shortest, {self.shortest}"
            raise ValueError(msg)
        return self

    def run(self, state: CleaningState) -> None:
        """Normalise all texts, then remove those of a wrong length."""
        texts = state.frame.inputs
        assert isinstance(texts, Texts)
        windows = state.frame.windows
        changed = [position for position, (old, new) in enumerate(self._before_and_after(texts, windows)) if old != new]
        if changed:
            folder = state.folder / f"text{len(state.steps)}"
            folder.mkdir()
            state.change(inputs=write_texts((new for _, new in self._before_and_after(texts, windows)), folder))
            examples = [state.row_name(position) for position in changed[:5]]
            self.record(state, len(changed), "rows", f"texts were normalised: {self._applied()}", examples, "normalise")
        if not windows:
            self._remove_by_length(state)

    def _before_and_after(self, texts: Texts, windows: bool) -> Iterator[tuple[str, str]]:
        return ((text, self.normalise(text, windows=windows)) for text in texts)

    def normalise(self, text: str, *, windows: bool = False) -> str:
        """Return the normalised text; `windows` keep their blanks."""
        text = html.unescape(text).replace("\0", "") if self.entities else text
        text = unicodedata.normalize(self.unicode, text) if self.unicode else text
        text = CONTROL_CHARACTERS.sub("", text) if self.control else text
        text = text.lower() if self.lower else text
        if windows:
            return text
        text = re.sub(r"\s+", " ", text) if self.collapse else text
        return text.strip() if self.strip else text

    def _applied(self) -> str:
        flags = [name for name in ("strip", "collapse", "control", "lower", "entities") if getattr(self, name)]
        return ", ".join([*([self.unicode] if self.unicode else []), *flags])

    def _remove_by_length(self, state: CleaningState) -> None:
        texts = state.frame.inputs
        assert isinstance(texts, Texts)
        lengths = texts.lengths()
        wrong = (lengths < self.shortest) | (lengths > (self.longest or np.inf))
        positions = np.flatnonzero(wrong & state.keep)
        if len(positions):
            text = f"texts have {self.shortest} to {self.longest or 'any number of'} characters"
            state.remove(positions, "length", text)
            examples = [f"{state.row_name(position)}: {lengths[position]} characters" for position in positions[:5]]
            self.record(state, len(positions), "rows", text, examples)
