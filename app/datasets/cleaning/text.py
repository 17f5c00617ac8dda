"""Texts brought into one form: Unicode, blanks, case, markup; and texts too short or too long.

Pieces of one long text keep their blanks and lengths, which are part of it. A model that is asked later gets texts as
they come: what it must not tell apart there (case, the form of letters) belongs into its own preprocessing.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.frames.texts import Texts, write_texts

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MAX = 1 << 20


class Text(CleaningStep):
    """Normalise texts, and remove those that are too short or too long."""

    modalities = ("text",)
    kind: Literal["text"] = "text"
    unicode: Literal["NFC", "NFKC"] | None = Field(
        default="NFC", description="Form of Unicode: composed letters, also one width and style of them, or as it is."
    )
    strip: bool = Field(default=True, description="Take away blanks at both ends.")
    collapse: bool = Field(default=False, description="Make any run of blanks and line ends one blank.")
    control: bool = Field(default=False, description="Take away control characters, but for tabs and line ends.")
    lower: bool = Field(default=False, description="Write everything in lower case.")
    entities: bool = Field(default=False, description="Write HTML entities as what they stand for: &amp; becomes &.")
    shortest: int = Field(default=1, ge=0, le=MAX, description="Texts of fewer characters are removed.")
    longest: int | None = Field(
        default=None, ge=1, le=MAX, description="Texts of more characters are removed; null: none are."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.longest is not None and self.longest < self.shortest:
            msg = f"longest is at least shortest, {self.shortest}"
            raise ValueError(msg)
        return self

    def run(self, work: Work) -> None:
        """Normalise all texts, then look at their lengths."""
        texts = work.frame.inputs
        assert isinstance(texts, Texts)
        windows = work.frame.windows
        changed = [place for place, (old, new) in enumerate(self._both(texts, windows)) if old != new]
        if changed:
            folder = work.folder / f"text{len(work.steps)}"
            folder.mkdir()
            work.change(inputs=write_texts((new for _, new in self._both(texts, windows)), folder))
            examples = [f"{work.name(place)}" for place in changed[:5]]
            self.record(work, len(changed), "rows", f"texts were normalised: {self._forms()}", examples, "normalise")
        if not windows:
            self._lengths(work)

    def _both(self, texts: Texts, windows: bool) -> Iterator[tuple[str, str]]:
        return ((text, self.normalise(text, windows=windows)) for text in texts)

    def normalise(self, text: str, *, windows: bool = False) -> str:
        """Return the text as this step leaves it; of windows, with its blanks."""
        text = html.unescape(text).replace("\0", "") if self.entities else text
        text = unicodedata.normalize(self.unicode, text) if self.unicode else text
        text = CONTROL.sub("", text) if self.control else text
        text = text.lower() if self.lower else text
        if windows:
            return text
        text = re.sub(r"\s+", " ", text) if self.collapse else text
        return text.strip() if self.strip else text

    def _forms(self) -> str:
        flags = [name for name in ("strip", "collapse", "control", "lower", "entities") if getattr(self, name)]
        return ", ".join([*([self.unicode] if self.unicode else []), *flags])

    def _lengths(self, work: Work) -> None:
        texts = work.frame.inputs
        assert isinstance(texts, Texts)
        lengths = texts.lengths()
        bad = (lengths < self.shortest) | (lengths > (self.longest or np.inf))
        places = np.flatnonzero(bad & work.keep)
        if len(places):
            text = f"texts have {self.shortest} to {self.longest or 'any number of'} characters"
            work.remove(places, "length", text)
            examples = [f"{work.name(place)}: {lengths[place]} characters" for place in places[:5]]
            self.record(work, len(places), "rows", text, examples)
