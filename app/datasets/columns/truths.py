"""Columns of true and false that are written in several ways, such as yes, true and 1: two categories, not three."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.report import Notes
from app.ml.data.truths import FALSE_AND_TRUE, truths_of
from app.ml.spec import WarningCode

MAX_SPELLINGS = 30
SAMPLED_ROWS = 10_000


def are_mixed_truths(text: Any) -> bool:
    """Return whether Arrow texts (N,) are true and false, written in more ways than one each."""
    if pc.count_distinct(text.slice(0, SAMPLED_ROWS)).as_py() > MAX_SPELLINGS:
        return False
    return bool(_meanings(_counts(text)))


def merge_truths(name: str, text: Any, notes: Notes, *, declared: bool) -> Any:
    """Return texts (N,) with one spelling each for true and false where all are one of them; else as they are.

    Where the user `declared` categories, they stay apart, with a warning.
    """
    if not are_mixed_truths(text):
        return text
    counts = _counts(text)
    meanings = _meanings(counts)
    shown = ", ".join(repr(spelling) for spelling in meanings)
    if declared:
        message = f"column {name}: {shown} mean true and false, and are {len(meanings)} categories"
        remedy = "leave its type out, and they are two, or write them alike"
        notes.warn(WarningCode.SIMILAR_CLASSES, message, count=len(meanings), remedy=remedy)
        return text
    names = _names(counts, meanings)
    reason = f"{shown} mean true and false, and were merged into {names[0]!r} and {names[1]!r}"
    notes.decide(f"types.{name}", "category", reason, option=f'types={{"{name}": "category"}} keeps them apart')
    notes.notice(f"column {name}: {reason}")
    merged = [None if spelling is None else names[meanings[spelling]] for spelling in (*meanings, None)]
    positions = pc.index_in(text, pa.array(list(meanings), pa.string()))
    return pc.if_else(pc.is_null(positions), text, pc.take(pa.array(merged, pa.string()), positions))


def _meanings(counts: Counter[str]) -> dict[str, bool]:
    """Return what the spellings mean where they are more than one for true or false; else {}."""
    meanings = truths_of(counts)
    return meanings if len(meanings) > 2 else {}  # noqa: PLR2004 - one for each


def _counts(text: Any) -> Counter[str]:
    """Count the texts that are not missing."""
    return Counter({item["values"]: item["counts"] for item in pc.value_counts(text.drop_null()).to_pylist()})


def _names(counts: Counter[str], meanings: dict[str, bool]) -> tuple[str, str]:
    """Return what false and true are called: the words of the most frequent pair, in small letters."""
    words: Counter[str] = Counter()
    for spelling in meanings:
        words[spelling.strip().casefold()] += counts[spelling]
    return max(FALSE_AND_TRUE, key=lambda pair: sum(words[word] for word in pair))
