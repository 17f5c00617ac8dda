"""Names of splits as people write them: "Training", "X_test", "seg_train", "valid"."""

import re
from collections.abc import Iterable

from app.ml.spec import Split

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
SPLIT_OF_WORD: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainset", "trn"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "valset", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "tst", "eval", "evaluation", "holdout"), "test"),
}
EVALUATION = frozenset({"eval", "evaluation"})


def splits_of(names: Iterable[str], *, alike: bool) -> dict[str, Split]:
    """Return the splits of those names that hold exactly one word for a split, by name.

    With `alike`, all names must be equal but for that word and digits ("X_train" and "X_test", not "train ride" and
    "test drive"), and say several splits; else none is a split. "eval" is validation next to "test", else test.
    """
    words = {name: words_of(name) for name in names}
    split_words = {name: [word for word in parts if word in SPLIT_OF_WORD] for name, parts in words.items()}
    single = {name: parts[0] for name, parts in split_words.items() if len(parts) == 1}
    splits = {name: SPLIT_OF_WORD[word] for name, word in single.items()}
    tests = {name for name, split in splits.items() if split == "test"}
    evaluations = {name for name in tests if single[name] in EVALUATION}
    if evaluations and evaluations != tests and "validation" not in splits.values():
        splits |= dict.fromkeys(evaluations, "validation")
    if alike:
        others = {tuple(word for word in parts if _is_other(word)) for parts in words.values()}
        named_train = "train" in splits.values() or others == {()}
        if len(splits) < len(words) or len(others) > 1 or len(set(splits.values())) == 1 or not named_train:
            return {}
    return splits


def words_of(name: str) -> list[str]:
    """Return the words of a name, in lower case: "X_train", "XTrain", "xtrain" have two."""
    joined = re.sub(r"(?i)hold[-_ ]out", "holdout", name)
    if joined[:1] in "xyXY" and joined[1:].casefold() in SPLIT_OF_WORD:
        joined = f"{joined[0]}_{joined[1:]}"
    return [word.casefold() for word in WORD.findall(joined)]


def _is_other(word: str) -> bool:
    return word not in SPLIT_OF_WORD and not word.isdigit()
