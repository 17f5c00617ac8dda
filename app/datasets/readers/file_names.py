"""What the names of files without labels may say of them: cat.0.jpg and dog.1.jpg are two classes, perhaps."""

import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from app.datasets.report import Notes
from app.ml.spec import WarningCode

FIRST_WORD = re.compile(r"[^\W\d_]+")
NO_CLASSES = frozenset(
    {
        "img",
        "image",
        "dsc",
        "dscn",
        "dscf",
        "pxl",
        "mvi",
        "photo",
        "picture",
        "pic",
        "frame",
        "scan",
        "screenshot",
        "page",
    }
    | {"file", "sample", "item", "copy", "train", "test", "val", "valid", "text", "doc", "document", "p", "x"}
)
"""Words that cameras and programs write."""
MAX_CLASSES = 50
MIN_FILES = 3
MAX_SHOWN = 5


def warn_of_names(members: Sequence[zipfile.ZipInfo], notes: Notes) -> None:
    """Warn where the names of files without labels begin with a few words, each of several files."""
    first = [FIRST_WORD.match(PurePosixPath(member.filename).stem) for member in members]
    words = Counter(match.group().casefold() for match in first if match is not None)
    few = 2 <= len(words) <= MAX_CLASSES and words.total() == len(members)  # noqa: PLR2004 - one word is no class
    if few and min(words.values()) >= MIN_FILES and NO_CLASSES.isdisjoint(words):
        shown = ", ".join(sorted(words)[:MAX_SHOWN]) + (" ..." if len(words) > MAX_SHOWN else "")
        message = f"no file has a label, and all names begin with one of {len(words)} words, perhaps classes: {shown}"
        remedy = (
            "put the files of each class into a folder of its own, or a table next to them that names file and label"
        )
        notes.warn(WarningCode.LABELS_IN_NAMES, message, count=len(members), remedy=remedy)
