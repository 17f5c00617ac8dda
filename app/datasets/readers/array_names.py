"""Which array of an .npz holds what, by its name: "x", "images", "X_train", "test_labels"; splits are joined."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.datasets.context import Context
from app.datasets.errors import Code, DatasetError
from app.datasets.frames.chunks import row_chunks
from app.datasets.readers.npy import bad_array
from app.datasets.readers.split_names import SPLIT_OF_WORD, splits_of, words_of
from app.ml.spec import SPLITS, Split

Array: TypeAlias = npt.NDArray[Any]
X, Y, SPLIT, LENGTHS = "x", "y", "split", "lengths"
INPUT_WORDS = frozenset(
    {"x", "data", "image", "images", "img", "imgs", "input", "inputs", "feature", "features", "sample", "samples"}
)
LABEL_WORDS = frozenset({"y", "label", "labels", "target", "targets", "class", "classes"})
LENGTH_WORDS = frozenset({"length", "lengths", "lens"})
FILLERS = frozenset({"set", "arr", "array"})
UNNAMED = {"arr_0", "arr_1"}
MAX_LABELS = 64
CHUNK_BYTES = 8 << 20


def named_arrays(arrays: Mapping[str, Array], context: Context) -> dict[str, Array]:
    """Return the arrays as `x` and, if there are any, `y`, `split` and `lengths`; arrays of splits are joined.

    Raises:
        DatasetError: bad_array.
    """
    parts = _parts(arrays)
    splits = splits_of([name for name in arrays if parts[name] != SPLIT], alike=False)
    if splits:
        return _joined(arrays, parts, splits, context)
    if X not in parts.values() or len(set(parts.values())) < len(parts):
        raise _not_understood(arrays)
    for name, part in parts.items():
        if name != part:
            reason = "it is the only array" if len(arrays) == 1 else "its name, and the others, say so"
            context.notes.decide(part, name[:100], reason, "save the arrays as x, y and split")
    return {part: arrays[name] for name, part in parts.items()}


def _not_understood(names: Mapping[str, Any]) -> DatasetError:
    shown = ", ".join(names)[:200] or "nothing"
    message = (
        "an .npz holds arrays x and, if there are any, y, split and lengths; or x_train, y_train, x_test and so on"
    )
    message += f"; images and labels, X and Y, data and target are understood, too; this one holds {shown}: rename them"
    return DatasetError(Code.BAD_ARRAY, message)


def _parts(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Return what each array holds; refuse names that do not say."""
    if len(arrays) == 1:
        return dict.fromkeys(arrays, X)
    if set(arrays) == UNNAMED and _are_labels(arrays["arr_1"], arrays["arr_0"]):
        return {"arr_0": X, "arr_1": Y}
    parts = {name: part for name in arrays if (part := _part(name)) is not None}
    if len(parts) < len(arrays):
        raise _not_understood(arrays)
    return parts


def _are_labels(y: Array, x: Array) -> bool:
    """Return whether `y` may be the labels of `x`: one value, or a few, for each row."""
    few = y.ndim == 1 or (y.ndim == 2 and y.shape[1] <= MAX_LABELS)  # noqa: PLR2004 - (N, T)
    return x.ndim > 1 and few and len(x) == len(y) and y.size < x.size


def _part(name: str) -> str | None:
    """Return what an array of this name holds, or None."""
    words = {word for word in words_of(name) if word not in SPLIT_OF_WORD and word not in FILLERS}
    words = {word for word in words if not word.isdigit()}
    if words == {SPLIT}:
        return SPLIT
    if words & LABEL_WORDS and words <= LABEL_WORDS | INPUT_WORDS:
        return Y
    if words and words <= LENGTH_WORDS:
        return LENGTHS
    of_split = any(word in SPLIT_OF_WORD for word in words_of(name))
    return X if words <= INPUT_WORDS and (words or of_split) else None


def _joined(
    arrays: Mapping[str, Array], parts: Mapping[str, str], splits: Mapping[str, Split], context: Context
) -> dict[str, Array]:
    """Return the arrays of all splits, in the order of SPLITS; rows of a split without labels are in train."""
    by_part: dict[str, dict[Split, str]] = {}
    for name, part in parts.items():
        split = splits.get(name, "train")  # x, y, x_test and y_test
        if part == SPLIT or split in by_part.setdefault(part, {}):
            raise _not_understood(arrays)
        by_part[part][split] = name
    inputs = by_part.get(X, {})
    if "train" not in inputs or any(not names.keys() <= inputs.keys() for names in by_part.values()):
        raise _not_understood(arrays)
    order = [split for split in SPLITS if split in inputs]
    for part, names in by_part.items():
        for split, name in names.items():
            if arrays[name].ndim == 0 or len(arrays[name]) != len(arrays[inputs[split]]):
                raise bad_array(name, f"it has shape {arrays[name].shape} and {part} of {inputs[split]} other rows")
    sizes = [len(arrays[inputs[split]]) for split in order]
    labels = by_part.get(Y, {})
    reasons = ", ".join(f"{inputs[split]} is {split}" for split in order)
    if labels and len(labels) < len(inputs):
        reasons += f"; rows of {', '.join(inputs[split] for split in order if split not in labels)} have no labels"
    context.notes.decide("splits", "by the arrays' names", reasons, "save the arrays as x, y and split")
    joined = {X: _stacked({inputs[split]: arrays[inputs[split]] for split in order}, context)}
    for part in (Y, LENGTHS):
        if part in by_part:
            joined[part] = _with_gaps(by_part[part], arrays, dict(zip(order, sizes, strict=True)))
    joined[SPLIT] = np.repeat([split if split in labels or not labels else "train" for split in order], sizes)
    return joined


def _stacked(arrays: Mapping[str, Array], context: Context) -> Array:
    """Return the rows of all arrays below each other, mapped from a file."""
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        if array.shape[1:] != first.shape[1:] or array.dtype.kind != first.dtype.kind:
            problem = f"its rows are {array.dtype} {array.shape[1:]}, and those of {first_name} {first.dtype}"
            raise bad_array(name, f"{problem} {first.shape[1:]}; make them alike")
    rows = sum(len(array) for array in arrays.values())
    dtype = np.result_type(*(array.dtype for array in arrays.values()))
    if rows * first[:1].size * dtype.itemsize > context.limits.unpacked_bytes:
        raise DatasetError(Code.TOO_LARGE, f"the arrays {', '.join(arrays)} are too large together; upload less")
    out = np.lib.format.open_memmap(
        context.scratch / "joined.npy", mode="w+", dtype=dtype, shape=(rows, *first.shape[1:])
    )
    start = 0
    for array in arrays.values():
        for chunk in row_chunks(array, CHUNK_BYTES):
            out[start + chunk.start : start + chunk.stop] = array[chunk]
        start += len(array)
    return out


def _with_gaps(names: Mapping[Split, str], arrays: Mapping[str, Array], sizes: Mapping[Split, int]) -> Array:
    """Return an array for the rows of all splits; in splits that have none, values are NaN, or empty texts."""
    present = [arrays[name] for name in names.values()]
    if len({array.dtype.kind == "U" for array in present}) > 1 or len({array.shape[1:] for array in present}) > 1:
        raise bad_array(", ".join(names.values()), "they differ in type or shape; make them alike")
    gap: float | str = "" if present[0].dtype.kind == "U" else np.nan
    pieces = [
        arrays[names[split]] if split in names else np.full((size, *present[0].shape[1:]), gap)
        for split, size in sizes.items()
    ]
    return np.concatenate(pieces)
