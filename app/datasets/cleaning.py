"""Which rows stay: steps in a fixed order, each of which says what it removes and why.

1. corrupt: items the reader could not open (found while reading).
2. missing_target: with one target, rows that lack it; with several, rows that lack all of them.
3. conflicting_labels: images that are the same byte for byte and are labelled differently; all of them go, since
   nobody knows which label is right. Rows of a table may repeat with another target: that is noise, and they stay.
4. duplicate: of rows with the same inputs (in a table: and the same targets) the best labelled, then first, stays.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.datasets.frame import Bools, Floats, Frame, Inputs, Ints, Loaded, Notes
from app.datasets.options import PrepareOptions
from app.datasets.report import Reason, Removal
from app.datasets.texts import Texts

CHUNK_BYTES = 32 << 20
Digests = npt.NDArray[np.uint64]


@dataclass(slots=True)
class Cleaned:
    """The rows that stay, (N,) True, and the account of those that do not."""

    keep: Bools
    listed: int
    removals: list[Removal] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)

    def add(self, removal: Removal) -> None:
        """Count a removal and list it while there is room."""
        self.counts[removal.reason] += 1
        if len(self.removals) < self.listed:
            self.removals.append(removal)

    def remove(self, places: Ints, rows: Ints, reason: Reason, detail: str, other: Ints | None = None) -> None:
        """Remove the rows at `places`; `rows` are all source rows, `other` the row that each one repeats."""
        self.keep[places] = False
        self.counts[reason] += len(places)
        room = max(0, self.listed - len(self.removals))
        for k, place in enumerate(places[:room]):
            text = detail if other is None else f"{detail} {rows[other[k]]}"
            self.removals.append(Removal(row=int(rows[place]), reason=reason, detail=text))


def clean(
    frame: Frame, digests: Digests, loaded: Loaded, options: PrepareOptions, listed: int, notes: Notes
) -> Cleaned:
    """Run all steps over `frame`; `digests` (N, 2) are those of its inputs, `listed` the removals to name."""
    cleaned = Cleaned(keep=np.ones(len(frame.rows), dtype=np.bool_), listed=listed)
    for removal in loaded.corrupt:
        cleaned.add(removal)
    _missing_targets(frame, options, cleaned, notes)
    _repeats(frame, digests, options, cleaned, notes)
    return cleaned


def digest_rows(inputs: Inputs) -> Digests:
    """Return the first 128 bits of the SHA-256 of each row's bytes, (N, 2); -0.0 counts as 0.0."""
    if isinstance(inputs, Texts):
        return inputs.digests()
    step = max(1, CHUNK_BYTES // max(1, inputs[:1].nbytes))
    found = bytearray()
    for start in range(0, len(inputs), step):
        piece = np.ascontiguousarray(inputs[start : start + step])
        if piece.dtype.kind == "f":
            piece = np.where(np.isnan(piece), np.float32(np.nan), piece + np.float32(0))
        flat = piece.reshape(len(piece), -1).view(np.uint8)
        for row in flat:
            found += hashlib.sha256(row.data).digest()[:16]
    return np.frombuffer(bytes(found), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _missing_targets(frame: Frame, options: PrepareOptions, cleaned: Cleaned, notes: Notes) -> None:
    """Remove rows without any label, or keep them for learning without labels, as the user says."""
    if not frame.target_specs:
        return
    lacking = np.flatnonzero(np.isnan(frame.targets).all(axis=1))
    names = ", ".join(spec.name for spec in frame.target_specs)
    if options.unlabelled == "keep":
        if len(lacking):
            notes.notice(f"{len(lacking)} rows have no value for {names}; they are kept, in train, as unlabelled says")
        return
    cleaned.remove(lacking, frame.rows, "missing_target", f"no value for {names}")


def _repeats(frame: Frame, digests: Digests, options: PrepareOptions, cleaned: Cleaned, notes: Notes) -> None:
    places = np.flatnonzero(cleaned.keep)
    if not len(places) or frame.windows:
        return
    groups = _groups(digests[places])
    if options.duplicates == "keep":
        repeated = len(places) - int(groups.max()) - 1
        if repeated:
            notes.notice(f"{repeated} rows repeat the inputs of another row and are kept, as duplicates says")
        return
    conflicting = _conflicts(groups, frame.targets[places])[groups]
    if frame.modality == "table":
        _notice_noise(conflicting, notes)
        keys = np.concatenate([digests[places], digest_rows(frame.targets[places])], axis=1)
        groups = _groups(keys)
    else:
        detail = f"the same {frame.modality} has other labels elsewhere"
        cleaned.remove(places[conflicting], frame.rows, "conflicting_labels", detail)
        places, groups = places[~conflicting], groups[~conflicting]
    _drop_repeats(places, groups, frame, cleaned)


def _notice_noise(conflicting: Bools, notes: Notes) -> None:
    if conflicting.any():
        notes.notice(f"{int(conflicting.sum())} rows have the same inputs as others and other targets; they are kept")


def _drop_repeats(places: Ints, groups: Ints, frame: Frame, cleaned: Cleaned) -> None:
    """Keep one row of each group: the best labelled, then the first."""
    lacking = np.isnan(frame.targets[places]).sum(axis=1)
    order = np.lexsort((places, lacking, groups))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = groups[order][1:] != groups[order][:-1]
    kept = places[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    again = np.flatnonzero(~first)
    by_row = again[np.argsort(places[order][again])]
    cleaned.remove(places[order][by_row], frame.rows, "duplicate", "the same as row", kept[by_row])


def _groups(keys: Digests) -> Ints:
    """Number the rows of `keys` (M, K) such that equal rows have equal numbers, (M,)."""
    order = np.lexsort(keys.T)
    changed = np.any(keys[order][1:] != keys[order][:-1], axis=1)
    groups = np.empty(len(keys), dtype=np.int64)
    groups[order] = np.concatenate([[0], np.cumsum(changed)])
    return groups


def _conflicts(groups: Ints, targets: Floats) -> Bools:
    """Say for each group whether two of its rows carry different values of one target, (groups,)."""
    count = int(groups.max()) + 1
    found = np.zeros(count, dtype=np.bool_)
    for column in targets.T:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        present = ~np.isnan(column)
        np.minimum.at(low, groups[present], column[present])
        np.maximum.at(high, groups[present], column[present])
        found |= low < high
    return found
