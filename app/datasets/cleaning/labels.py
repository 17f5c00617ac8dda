"""Classes that are spelt in several ways: "Cat", "cat ", "CAT".

Names are spellings of one class where they are equal once normalised (Unicode NFKC, case folded, blanks trimmed and
made single). The most frequent spelling stays. Short names are not merged, since "a" and "A" may be two letters and
"CO" is not "Co". A rare class one letter away from a frequent one is only reported: it may be a misspelling, or a word
of its own.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import CleaningState
from app.datasets.frames import Floats

MIN_LETTERS = 4
MIN_FREQUENCY_RATIO = 10
Names: TypeAlias = Sequence[str]


class Labels(CleaningStep):
    """Merge classes whose names differ only in case, blanks or Unicode form; report likely misspellings."""

    kind: Literal["labels"] = "labels"
    action: Literal["merge", "report"] = Field(default="merge", description="Merge such classes, or report them.")
    shortest: int = Field(default=3, ge=1, le=255, description="Names with fewer characters are only reported.")
    inputs: bool = Field(default=False, description="Treat the categories of input columns in the same way.")

    def run(self, state: CleaningState) -> None:
        """Merge classes of each target and, with `inputs`, categories of each column."""
        self._targets(state)
        if self.inputs and state.frame.modality == "table":
            self._columns(state)

    def _targets(self, state: CleaningState) -> None:
        targets, specs = state.frame.targets, list(state.frame.target_specs)
        for t, spec in enumerate(specs):
            if spec.type == "category":
                names, new_codes = self._merge(f"target {spec.name}", spec.classes, targets[state.keep, t], state)
                if len(names) < len(spec.classes):
                    targets = targets.copy()
                    targets[:, t] = _recode(targets[:, t], new_codes)
                    specs[t] = spec.model_copy(update={"classes": names})
        state.change(targets=targets, target_specs=tuple(specs))

    def _columns(self, state: CleaningState) -> None:
        columns = list(state.frame.columns)
        for start, block in state.blocks(state.kept()):
            for j, spec in enumerate(columns[start : start + block.shape[1]], start):
                if spec.type == "category":
                    names, new_codes = self._merge(f"column {spec.name}", spec.categories, block[:, j - start], state)
                    if len(names) < len(spec.categories):
                        matrix = state.writable()
                        matrix[:, j] = _recode(matrix[:, j].astype(np.float64), new_codes)
                        columns[j] = spec.model_copy(update={"categories": names})
        state.change(columns=tuple(columns))

    def _merge(self, what: str, names: Names, codes: Floats, state: CleaningState) -> tuple[tuple[str, ...], Floats]:
        """Return the names that stay, and the new code of each old code, (names,)."""
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(names)).tolist()
        spellings = find_spellings(names, counts)
        merged = [
            group for group in spellings if self.action == "merge" and len(_normalise(names[group[0]])) >= self.shortest
        ]
        kept = [group for group in spellings if group not in merged]
        self._record_groups(
            f"{what}: names that are one but for case, blanks or Unicode form were merged", merged, names, state
        )
        text = f"{what}: names that differ only in case, blanks or Unicode form; rename them if they are one"
        self._record_groups(text, kept, names, state, "report")
        self._record_misspellings(what, names, counts, state)
        target = {code: group[0] for group in merged for code in group}
        kept_codes = [code for code in range(len(names)) if target.get(code, code) == code]
        new = {code: position for position, code in enumerate(kept_codes)}
        new_codes = np.array([new[target.get(code, code)] for code in range(len(names))])
        return tuple(names[code] for code in kept_codes), new_codes

    def _record_groups(
        self, text: str, groups: list[list[int]], names: Names, state: CleaningState, action: str = ""
    ) -> None:
        if groups:
            examples = [" = ".join(repr(names[code]) for code in group) for group in groups]
            self.record(state, sum(map(len, groups)), "classes", text, examples, action)
            state.notes.notice(f"{text}: {'; '.join(examples[:5])}")

    def _record_misspellings(self, what: str, names: Names, counts: list[int], state: CleaningState) -> None:
        misspellings = find_misspellings(names, counts)
        if misspellings:
            examples = [
                f"{names[rare]!r} ({counts[rare]}) for {names[frequent]!r} ({counts[frequent]})"
                for rare, frequent in misspellings
            ]
            text = f"{what}: rare names one letter away from frequent ones; correct them if they are slips"
            self.record(state, len(misspellings), "classes", text, examples, "report")
            state.notes.notice(f"{text}: {'; '.join(examples[:5])}")


def _normalise(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _recode(codes: Floats, new_codes: Floats) -> Floats:
    """Replace each code (n,) by its new one, of `new_codes` (names,); NaN stays."""
    known = ~np.isnan(codes)
    out = np.full(len(codes), np.nan)
    out[known] = new_codes[codes[known].astype(np.int64)]
    return out


def find_spellings(names: Names, counts: Sequence[int]) -> list[list[int]]:
    """Return groups of codes whose names are equal once normalised, in each the most frequent first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for code, name in enumerate(names):
        groups[_normalise(name)].append(code)
    return [sorted(group, key=lambda code: (-counts[code], code)) for group in groups.values() if len(group) > 1]


def find_misspellings(names: Names, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return (rare, frequent) codes whose names are one letter apart: left out, put in, or another.

    Names that are one letter apart share a form with one letter left out, so that only names with a common form are
    compared.
    """
    forms: dict[str, list[int]] = defaultdict(list)
    for code, name in enumerate(names):
        normal = _normalise(name)
        if len(normal) >= MIN_LETTERS and counts[code]:
            for form in {normal, *(normal[:i] + normal[i + 1 :] for i in range(len(normal)))}:
                forms[form].append(code)
    frequent_of: dict[int, int] = {}
    for codes in forms.values():
        frequent = max(codes, key=lambda code: counts[code])
        for rare in codes:
            if MIN_FREQUENCY_RATIO * counts[rare] <= counts[frequent] and _one_letter_apart(
                _normalise(names[rare]), _normalise(names[frequent])
            ):
                frequent_of.setdefault(rare, frequent)
    return sorted(frequent_of.items())


def _one_letter_apart(name: str, other: str) -> bool:
    """Return whether the names differ in one letter; a different digit makes a different name."""
    short, long = sorted((name, other), key=len)
    start = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    if len(short) == len(long):
        return start < len(short) and short[start + 1 :] == long[start + 1 :] and (short[start] + long[start]).isalpha()
    return len(long) == len(short) + 1 and short[start:] == long[start + 1 :] and long[start].isalpha()
