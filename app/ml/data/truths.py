"""Words for true and false, as people and programs write them."""

from collections.abc import Iterable

from app.ml.data.written_numbers import is_missing_word

FALSE_AND_TRUE = (("false", "true"), ("no", "yes"), ("0", "1"), ("n", "y"), ("f", "t"), ("off", "on"), ("0.0", "1.0"))
"""Pairs of words; what a file holds most is written like the first of them that it has."""
TRUTHS = {word: bool(place) for pair in FALSE_AND_TRUE for place, word in enumerate(pair)}


def truths_of(names: Iterable[str]) -> dict[str, bool]:
    """Return what each name means where all of them, but for words for a missing value, mean true and false; else {}.

    Letters alone may be other things than y and n: those of two pairs, such as t, f and n, mean nothing.
    """
    present = [name for name in names if not is_missing_word(name.strip())]
    words = [name.strip().casefold() for name in present]
    meanings = {name: TRUTHS[word] for name, word in zip(present, words, strict=True) if word in TRUTHS}
    letters = {pair for pair in FALSE_AND_TRUE for word in words if word in pair and word.isalpha() and len(word) == 1}
    only_letters = all(len(word) == 1 and word.isalpha() for word in words)
    if len(meanings) < len(present) or len({*meanings.values()}) < 2 or (only_letters and len(letters) > 1):  # noqa: PLR2004 - true and false
        return {}
    return meanings
