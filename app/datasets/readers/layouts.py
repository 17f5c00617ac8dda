"""Finds out what the folders around files are: wrappers, splits, classes, or places of files without labels.

Names are the first evidence ("Training", "X_test", "unlabelled"), and what folders hold the second: folders next to
each other that hold the same folders are no classes, as those in them are. A pair of such folders is train and test,
the larger one train, which is a doubt that the layout says. What cannot be known is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from app.datasets.errors import Code, DatasetError
from app.datasets.options import FolderLevel
from app.datasets.readers.split_names import splits_of
from app.ml.spec import Split

Folders: TypeAlias = tuple[str, ...]
Tree: TypeAlias = dict[str, set[str]]
UNLABELLED = re.compile(
    r"(un-?(label+ed|annotated)|unsup(ervised)?|(no|without|not|unknown)[-_ ]?label(s|led|ed)?)"
    r"([-_ ]?(data|images|imgs|set|\d+))?",
    re.IGNORECASE,
)
LABELLED = re.compile(r"label+ed|annotated|supervised|with[-_ ]?labels?", re.IGNORECASE)
PARTS = re.compile(r"(fold|part|batch|set|split|chunk|shard|subset|cv)[-_ ]?([a-z]|\d+)", re.IGNORECASE)
"""Names of folders that hold parts of the files, and say nothing of them."""
KINDS = re.compile(
    r"(rgb|raw|original|image|img|picture|photo|mask|segmentation|label|annotation|annot|depth|edge|seg|gt|text|meta)s?",
    re.IGNORECASE,
)
"""Names of folders of one kind of file each: images and their masks, say. They are no classes."""
MIN_COMMON = 2
MAX_DROPPED = 5
MIN_PER_DROPPED = 20
MAX_SHOWN = 5


@dataclass(slots=True)
class FolderLayout:
    """What is known of files (N,) by the folders around them.

    `tails` are the folders of each file that are not understood yet, `open_rows` the files that may have a label.
    `deeper`: there are folders in the folders of classes. `dropped` are a few files outside all folders: no rows.
    `unlabelled` are files in folders that are called so. `guess` says which of two folders was taken for train by its
    size; None: names say what is a split. `repeated` is 1 where all outermost folders hold one of their own name, which
    was taken off, so that an option has one folder more to ignore.
    """

    tails: list[Folders]
    labels: list[str | None] = field(init=False)
    splits: list[Split] | None = None
    open_rows: list[int] = field(init=False)
    levels: list[FolderLevel] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    deeper: bool = False
    dropped: list[int] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)
    repeated: int = 0
    guess: str | None = None
    remedy: str = ""

    def __post_init__(self) -> None:
        self.labels = [None] * len(self.tails)
        self.open_rows = list(range(len(self.tails)))

    def tree(self) -> Tree:
        """Return the outermost folders that are left, each with the folders in it; "" stands for files without one."""
        tree: Tree = {}
        for row in self.open_rows:
            first, second = (*self.tails[row], "", "")[:2]
            if not UNLABELLED.fullmatch(second):
                tree.setdefault(first, set()).add(second)
        return tree

    def enter(self) -> dict[int, str]:
        """Take off the outermost folder of all open rows, and return it by row; "" where there is none."""
        names = {row: self.tails[row][0] if self.tails[row] else "" for row in self.open_rows}
        for row in self.open_rows:
            self.tails[row] = self.tails[row][1:]
        return names

    def close(self, rows: Iterable[int], why: str) -> None:
        """Let rows have no label: they are in train."""
        closed = set(rows)
        if closed:
            self.open_rows = [row for row in self.open_rows if row not in closed]
            self.reasons.append(why)
        if self.splits is not None:
            self.splits = ["train" if row in closed else split for row, split in enumerate(self.splits)]


def shared_folders(paths: Sequence[Folders]) -> Folders:
    """Return the outermost folders that all paths share."""
    depth = 0
    while paths and all(len(path) > depth and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    return paths[0][:depth] if depth else ()


def folders_option(wrappers: int, *levels: FolderLevel) -> str:
    """Return the option that says what the folders inside the `wrappers` are."""
    return "folders=" + str(["ignored"] * wrappers + list(levels)).replace("'", '"')


def infer_layout(paths: Sequence[Folders], wrappers: int) -> FolderLayout:
    """Return what the folders of the files say, without their outermost `wrappers`.

    Raises:
        DatasetError: mixed_layout.
    """
    layout = FolderLayout([path[wrappers:] for path in paths])
    _drop_loose(layout)
    _set_unlabelled_aside(layout)
    _take_repeated_folders_off(layout)
    splits_in_classes = _splits_in_classes(layout.tree())
    if splits_in_classes:
        _check_splits_in_classes(layout, wrappers)
        _take_labels(layout)
        _take_splits(layout, splits_in_classes)
        return layout
    splits = _splits_by_name(layout.tree()) or _splits_by_content(layout.tree()) or _splits_by_size(layout, wrappers)
    if splits:
        _take_splits(layout, splits)
        _set_unlabelled_aside(layout)
    elif _are_parts(layout.tree()):
        shown = _shown(layout.enter().values())
        layout.levels.append("ignored")
        layout.reasons.append(f"{shown} hold the same folders, which are the classes, and are parts of the files")
    _take_labels(layout)
    if any(layout.tails[row] for row in layout.open_rows):
        layout.deeper = True
        layout.reasons.append("the folders in them are not used")
    return layout


def _drop_loose(layout: FolderLayout) -> None:
    """Drop a few files next to folders that hold very many: lists, samples and the like."""
    loose = [row for row in layout.open_rows if not layout.tails[row]]
    if len(loose) <= MAX_DROPPED and MIN_PER_DROPPED * len(loose) <= len(layout.open_rows):
        layout.dropped += loose
        layout.open_rows = [row for row in layout.open_rows if layout.tails[row]]


def _set_unlabelled_aside(layout: FolderLayout) -> None:
    """Close the rows in folders for files without labels, and take off what then wraps all others."""
    unlabelled = {row for row in layout.open_rows if layout.tails[row] and UNLABELLED.fullmatch(layout.tails[row][0])}
    names = _shown(layout.tails[row][0] for row in unlabelled)
    layout.unlabelled += sorted(unlabelled)
    layout.close(unlabelled, f"by its name {names} holds {len(unlabelled)} files without labels")
    for row in layout.open_rows if unlabelled else []:
        if len(layout.tails[row]) > 1 and LABELLED.fullmatch(layout.tails[row][0]):
            layout.tails[row] = layout.tails[row][1:]
    for _ in shared_folders([layout.tails[row] for row in layout.open_rows]):
        name = _shown(layout.enter().values())
        layout.levels.append("ignored")
        layout.reasons.append(f"{name} holds all {'other ' if unlabelled else ''}files")


def _take_repeated_folders_off(layout: FolderLayout) -> None:
    """Take off a folder that is called like the one around it, and holds all of it (test/test/cat)."""
    tree = layout.tree()
    if "" not in tree and tree and all(inner == {name} for name, inner in tree.items()):
        layout.repeated = 1
    for name, inner in tree.items():
        if inner == {name}:
            for row in layout.open_rows:
                if layout.tails[row][:1] == (name,):
                    layout.tails[row] = layout.tails[row][1:]


def _splits_in_classes(tree: Tree) -> dict[str, Split]:
    """Return the splits inside classes (cat/train, cat/test), by name."""
    inner = set().union(*tree.values())
    if "" in tree or "" in inner or len(tree) < MIN_COMMON or splits_of(tree, alike=True):
        return {}
    return splits_of(inner, alike=True) if len(inner) >= MIN_COMMON else {}


def _check_splits_in_classes(layout: FolderLayout, wrappers: int) -> None:
    """Refuse splits whose folders hold the same folders (s1/train/run, s2/train/run): they may be the classes."""
    inner: Tree = {}
    for row in layout.open_rows:
        inner.setdefault(layout.tails[row][0], set()).add((*layout.tails[row], "")[2])
    if _hold_the_same(inner):
        shown = _shown(sorted(set().union(*inner.values())))
        message = f"the folders {_shown(inner)} hold splits, and in these the same folders ({shown}); send "
        message += f"{folders_option(wrappers, 'ignored', 'split', 'label')} where the inner ones are the classes, or "
        message += f"{folders_option(wrappers, 'label', 'split')} where the outer ones are"
        raise DatasetError(Code.MIXED_LAYOUT, message)


def _splits_by_name(tree: Tree) -> dict[str, Split]:
    """Return the splits by name; flat folders next to those that hold folders are none, and their files unlabelled."""
    if "" in tree or len(tree) < MIN_COMMON:
        return {}
    splits = splits_of(tree, alike=True)
    if splits:
        return splits
    nested = [name for name, inner in tree.items() if "" not in inner]
    splits = splits_of(nested, alike=True)
    return splits if len(nested) < len(tree) else {}


def _splits_by_content(tree: Tree) -> dict[str, Split]:
    """Return the splits of folders next to each other that hold the same folders, where names say which is which."""
    if not _hold_the_same(tree) or _are_parts(tree):
        return {}
    splits = splits_of(tree, alike=False)
    unknown = [name for name in tree if name not in splits]
    if len(tree) == 2 and len(unknown) == 1 and splits:  # noqa: PLR2004 - a pair: one name says what the other is
        (known,) = splits.values()
        return splits | {unknown[0]: "test" if known == "train" else "train"}
    return {} if unknown else splits


def _splits_by_size(layout: FolderLayout, wrappers: int) -> dict[str, Split]:
    """Return the splits of two folders that hold the same folders and whose names say nothing: the larger is train.

    Raises:
        DatasetError: mixed_layout: there are more than two, or what they hold are no classes.
    """
    tree = layout.tree()
    if not _hold_the_same(tree) or _are_parts(tree):
        return {}
    inner = sorted(set().union(*tree.values()))
    are_classes = not (all(map(KINDS.fullmatch, inner)) or all(map(PARTS.fullmatch, inner)))
    same = f"the folders {_shown(tree)} hold the same folders ({_shown(inner)})"
    depth = wrappers + layout.repeated + layout.levels.count("ignored")
    classes_outside = f"{folders_option(depth, 'label')} where the outer ones are classes"
    one_set = f"{folders_option(depth, 'ignored', 'label')} where the inner ones are classes, of one set"
    if len(tree) != 2 or not are_classes:  # noqa: PLR2004 - a pair
        message = f"{same}, and which of them are classes is not known; send {one_set}, or {classes_outside}; or call "
        raise DatasetError(Code.MIXED_LAYOUT, f"{message}the outer ones train and test, or leave out some")
    sizes = Counter(layout.tails[row][0] for row in layout.open_rows)
    train, test = sorted(tree, key=lambda name: (-sizes[name], name))
    layout.guess = f"{same}: {train[:100]!r} ({sizes[train]} files) was taken for train, as the "
    layout.guess += "larger one" if sizes[train] > sizes[test] else "first by name"
    layout.guess += f", and {test[:100]!r} ({sizes[test]}) for test"
    layout.remedy = f"call them train and test where that is wrong; or send {classes_outside}, or {one_set}"
    return {train: "train", test: "test"}


def _hold_the_same(tree: Tree) -> bool:
    """Return whether several folders hold the same folders; some may lack up to half of them."""
    inner = list(tree.values())
    if "" in tree or len(inner) < MIN_COMMON or any("" in names for names in inner):
        return False
    common = set.intersection(*inner)
    return len(common) >= MIN_COMMON and 2 * len(common) >= len(set().union(*inner))


def _are_parts(tree: Tree) -> bool:
    """Return whether the folders are parts of one set (fold1, fold2; train1, train2), which hold the same classes."""
    splits = splits_of(tree, alike=False)
    of_one_split = len(splits) == len(tree) and len(set(splits.values())) == 1
    return _hold_the_same(tree) and (of_one_split or all(PARTS.fullmatch(name) for name in tree))


def _take_splits(layout: FolderLayout, splits: dict[str, Split]) -> None:
    names = layout.enter()
    layout.levels.append("split")
    shown = ", ".join(f"{name[:100]!r} is {split}" for name, split in list(splits.items())[:MAX_SHOWN])
    layout.reasons.append(layout.guess or shown)
    layout.splits = [splits.get(names.get(row, ""), "train") for row in range(len(layout.tails))]
    others = {row for row, name in names.items() if name not in splits}
    layout.close(others, f"{_shown(names[row] for row in others)} holds no folders, so its files have no labels")


def _take_labels(layout: FolderLayout) -> None:
    """Take the next folders for classes; files of splits without any have no label.

    Raises:
        DatasetError: mixed_layout.
    """
    if not any(layout.tails[row] for row in layout.open_rows):
        return
    if layout.splits is not None:
        nested = {layout.splits[row] for row in layout.open_rows if layout.tails[row]}
        flat = {row for row in layout.open_rows if layout.splits[row] not in nested}
        layout.close(flat, f"{len(flat)} files of splits without folders have no labels")
    _drop_loose(layout)
    loose = sum(not layout.tails[row] for row in layout.open_rows)
    if loose:
        message = f"{loose} files lie outside the folders of classes; move each into a folder, or leave out folders"
        raise DatasetError(Code.MIXED_LAYOUT, message)
    names = layout.enter()
    for row, name in names.items():
        layout.labels[row] = name
    layout.levels.append("label")
    if layout.splits is not None and set(layout.splits) == {"train"}:
        layout.splits = None
        layout.reasons.append("only files of train have labels, so these are split anew")
    classes = len(set(names.values()))
    layout.reasons.append(
        f"each of the {classes} folders {'in the splits ' if 'split' in layout.levels else ''}is a class"
    )


def _shown(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(repr(name[:100]) for name in distinct[:MAX_SHOWN]) + (" ..." if len(distinct) > MAX_SHOWN else "")
