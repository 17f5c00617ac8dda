"""Classes that are spelt in several ways: "Cat", "cat ", "CAT".

Names are spellings of one class where they are equal once normalised (Unicode NFKC, case folded, blanks trimmed and
made single, dots at the end cut). The most frequent spelling stays. Short names are not merged, since "a" and "A" may
be two letters and "CO" is not "Co"; but "no" and "No" are one word, and so are "Y" and "y" where all classes are y and
n. Neither are names with capitals inside of a word, as in "hid" and "hId", unless they are rare: who writes so means
it. A rare class one letter away from a frequent one is only reported: it may be a misspelling, or a word of its own.
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
from app.ml.spec import WarningCode

MIN_LETTERS = 4
SHORT_WORDS = frozenset({"no", "on", "ok", "ja", "si", "s\u00ed", "da", "ne"})
SHORT_PAIRS = ({"y", "n"}, {"j", "n"}, {"t", "f"}, {"m", "f"}, {"m", "w"})
MIN_WORD = 3
MIN_FREQUENCY_RATIO = 10
Names: TypeAlias = Sequence[str]


class Labels(CleaningStep):
    """Merge classes whose names differ only in case, blanks or Unicode form; report likely misspellings."""

    kind: Literal["labels"] = "labels"
    action: Literal["merge", "report"] = Field(default="merge", description="Merge such classes, or report them.")
    shortest: int = Field(default=MIN_WORD, ge=1, le=255, description="Names with fewer characters are only reported.")
    inputs: bool = Field(default=False, description="Treat the categories of input columns in the same way.")

    def run(self, state: CleaningState) -> None:
        """Merge classes of each target and, with `inputs`, categories of each column; else report these."""
        self._targets(state)
        self._label_lists(state)
        if self.inputs and state.frame.modality == "table":
            self._columns(state)
        else:
            _warn_of_categories(state)

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

    def _label_lists(self, state: CleaningState) -> None:
        """Treat the labels of each column of lists as classes: a row has a merged label that it has in any spelling."""
        for group in dict.fromkeys(spec.group for spec in state.frame.target_specs if spec.group is not None):
            specs, targets = state.frame.target_specs, state.frame.targets
            places = [t for t, spec in enumerate(specs) if spec.group == group]
            counts = np.nansum(targets[state.keep][:, places], axis=0).astype(np.int64).tolist()
            names = [specs[t].label for t in places]
            merged = self._judge(f"labels of {group}", names, counts, state)
            if merged:
                targets = targets.copy()
                dropped = {places[code] for codes in merged for code in codes[1:]}
                for codes in merged:
                    same = targets[:, [places[code] for code in codes]]  # all are NaN in a row without a list
                    targets[:, places[codes[0]]] = same.max(axis=1)
                kept = [t for t in range(len(specs)) if t not in dropped]
                state.change(targets=targets[:, kept], target_specs=tuple(specs[t] for t in kept))

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
        merged = self._judge(what, names, counts, state)
        target = {code: group[0] for group in merged for code in group}
        kept_codes = [code for code in range(len(names)) if target.get(code, code) == code]
        new = {code: position for position, code in enumerate(kept_codes)}
        new_codes = np.array([new[target.get(code, code)] for code in range(len(names))])
        return tuple(names[code] for code in kept_codes), new_codes

    def _judge(self, what: str, names: Names, counts: list[int], state: CleaningState) -> list[list[int]]:
        """Return the groups of codes whose names are merged, the one that stays first, and report these and others."""
        spellings = find_spellings(names, counts)
        words = {_normalise(name) for name in names} if spellings else set()
        merged = [
            group
            for group in spellings
            if self._are_one(_normalise(names[group[0]]), words) and not _means_its_case(group, names, counts)
        ]
        kept = [group for group in spellings if group not in merged]
        self._record_groups(
            f"{what}: names that are one but for case, blanks or Unicode form were merged", merged, names, state
        )
        text = f"{what}: names that differ only in case, blanks or Unicode form; rename them if they are one"
        self._record_groups(text, kept, names, state, "report", WarningCode.SIMILAR_CLASSES)
        self._record_misspellings(what, names, counts, state)
        return merged

    def _are_one(self, name: str, words: set[str]) -> bool:
        """Return whether spellings of a normalised name are merged; `words` are all names, normalised."""
        return self.action == "merge" and (len(name) >= self.shortest or _is_short_word(name, words))

    def _record_groups(
        self,
        text: str,
        groups: list[list[int]],
        names: Names,
        state: CleaningState,
        action: str = "",
        warning: WarningCode | None = None,
    ) -> None:
        """Record groups of spellings; with a `warning` code as a warning, else as a notice."""
        if not groups:
            return
        examples = [" = ".join(repr(names[code]) for code in group) for group in groups]
        self.record(state, sum(map(len, groups)), "classes", text, examples, action)
        message = f"{text}: {'; '.join(examples[:5])}"
        if warning is None:
            state.notes.notice(message)
        else:
            remedy = (
                'rename them in the file, or cleaning=[{"kind": "labels", "shortest": 1}, ...] merges short names too'
            )
            state.notes.warn(warning, message, count=len(groups), remedy=remedy)

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


def _warn_of_categories(state: CleaningState) -> None:
    """Warn of categories of input columns that are one word in several spellings."""
    for spec in state.frame.columns:
        spellings = find_spellings(spec.categories, [0] * len(spec.categories))
        words = {_normalise(name) for name in spec.categories} if spellings else set()
        certain = [group for group in spellings if _is_word(_normalise(spec.categories[group[0]]), words)]
        if certain:
            examples = "; ".join(" = ".join(repr(spec.categories[code]) for code in group) for group in certain[:5])
            message = f"column {spec.name}: categories that differ only in case, blanks or Unicode form: {examples}"
            remedy = 'cleaning=[{"kind": "labels", "inputs": true}, ...] merges them'
            state.notes.warn(WarningCode.SIMILAR_CLASSES, message, count=len(certain), remedy=remedy)


def _is_word(name: str, words: set[str]) -> bool:
    return len(name) >= MIN_WORD or _is_short_word(name, words)


def _is_short_word(name: str, words: set[str]) -> bool:
    """Return whether a short name is a word in any case: "no", or a letter of a pair that makes up all `words`."""
    return name in SHORT_WORDS or (name in words and any(words <= pair for pair in SHORT_PAIRS))


def _means_its_case(group: Sequence[int], names: Names, counts: Sequence[int]) -> bool:
    """Return whether a spelling that is not rare has capitals inside of a word that is not written in capitals."""
    often = max(counts[code] for code in group)
    return any(
        MIN_FREQUENCY_RATIO * counts[code] > often and not (name.isupper() or all(map(_has_usual_case, name.split())))
        for code, name in ((code, names[code]) for code in group)
    )


def _has_usual_case(word: str) -> bool:
    return word[1:] == word[1:].lower() or word.isupper()


def _normalise(name: str) -> str:
    words = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return words.rstrip(".") or words


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
