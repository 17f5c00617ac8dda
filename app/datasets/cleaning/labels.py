"""Classes that are one and are spelt in several ways: "Cat", "cat ", "CAT".

Names are twins where they are equal once normalised (Unicode NFKC, case folded, blanks trimmed and made single). The
most frequent spelling stays. Short names are left alone, since "a" and "A" may be two letters and "CO" no "Co". A rare
class one letter away from a frequent one is only reported: it may be a slip of the pen, or a word of its own.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.state import Work
from app.datasets.frames import Floats

LETTERS = 4
RARER = 10
Names: TypeAlias = Sequence[str]


class Labels(CleaningStep):
    """Merge classes whose names differ only in case, blanks or Unicode form; report likely misspellings."""

    kind: Literal["labels"] = "labels"
    action: Literal["merge", "report"] = Field(default="merge", description="Merge such classes, or report them.")
    shortest: int = Field(default=3, ge=1, le=255, description="Names with fewer characters are only reported.")
    inputs: bool = Field(default=False, description="Treat the categories of input columns in the same way.")

    def run(self, work: Work) -> None:
        """Settle each target of classes, then, if asked, each column of categories."""
        self._targets(work)
        if self.inputs and work.frame.modality == "table":
            self._columns(work)

    def _targets(self, work: Work) -> None:
        targets, specs = work.frame.targets, list(work.frame.target_specs)
        for t, spec in enumerate(specs):
            if spec.type == "category":
                names, meaning = self._settle(f"target {spec.name}", spec.classes, targets[work.keep, t], work)
                if len(names) < len(spec.classes):
                    targets = targets.copy()
                    targets[:, t] = _recoded(targets[:, t], meaning)
                    specs[t] = spec.model_copy(update={"classes": names})
        work.change(targets=targets, target_specs=tuple(specs))

    def _columns(self, work: Work) -> None:
        columns = list(work.frame.columns)
        for start, block in work.blocks(work.kept()):
            for j, spec in enumerate(columns[start : start + block.shape[1]], start):
                if spec.type == "category":
                    names, meaning = self._settle(f"column {spec.name}", spec.categories, block[:, j - start], work)
                    if len(names) < len(spec.categories):
                        matrix = work.writable()
                        matrix[:, j] = _recoded(matrix[:, j].astype(np.float64), meaning)
                        columns[j] = spec.model_copy(update={"categories": names})
        work.change(columns=tuple(columns))

    def _settle(self, what: str, names: Names, codes: Floats, work: Work) -> tuple[tuple[str, ...], Floats]:
        """Return the names that stay, and for each old code its new one."""
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(names)).tolist()
        twins = find_twins(names, counts)
        merged = [group for group in twins if self.action == "merge" and len(_plain(names[group[0]])) >= self.shortest]
        left = [group for group in twins if group not in merged]
        self._tell(f"{what}: names that are one but for case, blanks or Unicode form were merged", merged, names, work)
        text = f"{what}: names that differ only in case, blanks or Unicode form; rename them if they are one"
        self._tell(text, left, names, work, "report")
        self._misspelt(what, names, counts, work)
        into = {code: group[0] for group in merged for code in group}
        stay = [code for code in range(len(names)) if into.get(code, code) == code]
        new = {code: place for place, code in enumerate(stay)}
        return tuple(names[code] for code in stay), np.array([new[into.get(code, code)] for code in range(len(names))])

    def _tell(self, text: str, groups: list[list[int]], names: Names, work: Work, action: str = "") -> None:
        if groups:
            examples = [" = ".join(repr(names[code]) for code in group) for group in groups]
            self.record(work, sum(map(len, groups)), "classes", text, examples, action)
            work.notes.notice(f"{text}: {'; '.join(examples[:5])}")

    def _misspelt(self, what: str, names: Names, counts: list[int], work: Work) -> None:
        slips = find_slips(names, counts)
        if slips:
            examples = [
                f"{names[rare]!r} ({counts[rare]}) for {names[often]!r} ({counts[often]})" for rare, often in slips
            ]
            text = f"{what}: rare names one letter away from frequent ones; correct them if they are slips"
            self.record(work, len(slips), "classes", text, examples, "report")
            work.notes.notice(f"{text}: {'; '.join(examples[:5])}")


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _recoded(codes: Floats, meaning: Floats) -> Floats:
    known = ~np.isnan(codes)
    out = np.full(len(codes), np.nan)
    out[known] = meaning[codes[known].astype(np.int64)]
    return out


def find_twins(names: Names, counts: Sequence[int]) -> list[list[int]]:
    """Return groups of codes whose names are the same once normalised, in each the most frequent first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for code, name in enumerate(names):
        groups[_plain(name)].append(code)
    return [sorted(group, key=lambda code: (-counts[code], code)) for group in groups.values() if len(group) > 1]


def find_slips(names: Names, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return (rare, frequent) codes whose names are one letter apart: left out, put in, or another.

    Names that are one letter apart share a form with one letter left out, so no pair has to be tried in vain.
    """
    forms: dict[str, list[int]] = defaultdict(list)
    for code, name in enumerate(names):
        plain = _plain(name)
        if len(plain) >= LETTERS and counts[code]:
            for form in {plain, *(plain[:i] + plain[i + 1 :] for i in range(len(plain)))}:
                forms[form].append(code)
    found: dict[int, int] = {}
    for codes in forms.values():
        often = max(codes, key=lambda code: counts[code])
        for rare in codes:
            if RARER * counts[rare] <= counts[often] and _one_letter(_plain(names[rare]), _plain(names[often])):
                found.setdefault(rare, often)
    return sorted(found.items())


def _one_letter(one: str, other: str) -> bool:
    """Whether the names differ in one letter; another digit makes another name."""
    short, long = sorted((one, other), key=len)
    start = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    if len(short) == len(long):
        return start < len(short) and short[start + 1 :] == long[start + 1 :] and (short[start] + long[start]).isalpha()
    return len(long) == len(short) + 1 and short[start:] == long[start + 1 :] and long[start].isalpha()
