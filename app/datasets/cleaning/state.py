"""What the steps of cleaning work on: rows, which of them stay, and the account of it all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Bools, Bytes, Floats, Frame, Inputs, Ints, Loaded
from app.datasets.frames.digests import CHUNK_BYTES, Digests, digest_rows
from app.datasets.likeness import Pairs, Sketches, sketch, within
from app.datasets.report import Notes, Reason, Removal, StepReport, Unit

EXAMPLES = 5


@dataclass(slots=True)
class Work:
    """The rows as they are after the steps so far; `keep` (N,) says which stay, `split` (kept,) is known late."""

    frame: Frame
    loaded: Loaded
    notes: Notes
    folder: Path
    listed: int
    keep: Bools = field(init=False)
    split: Bytes | None = None
    removals: list[Removal] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    steps: list[StepReport] = field(default_factory=list)
    _digests: Digests | None = None
    _sketches: Sketches | None = None
    _pairs: Pairs | None = None
    _own: bool = False

    def __post_init__(self) -> None:
        self.keep = np.ones(len(self.frame.rows), dtype=np.bool_)

    def record(self, kind: str, action: str, affected: int, unit: Unit, decision: str, examples: Sequence[str]) -> None:
        """Put into the report what a step of cleaning found and did; `affected` counts things of the `unit`."""
        self.steps.append(
            StepReport(
                kind=kind,
                action=action,
                affected=affected,
                unit=unit,
                decision=decision,
                examples=tuple(examples[:EXAMPLES]),
            )
        )

    def add(self, removal: Removal) -> None:
        """Count a removal and list it while there is room."""
        self.counts[removal.reason] += 1
        if len(self.removals) < self.listed:
            self.removals.append(removal)

    def remove(self, places: Ints, reason: Reason, detail: str, other: Ints | None = None) -> None:
        """Remove the rows at `places`; `other` are the places of the rows that they repeat."""
        self.keep[places] = False
        self.counts[reason] += len(places)
        room = max(0, self.listed - len(self.removals))
        rows = self.frame.rows
        for k, place in enumerate(places[:room]):
            text = detail if other is None else f"{detail} {rows[other[k]]}"
            self.removals.append(Removal(row=int(rows[place]), reason=reason, detail=text))

    def kept(self) -> Ints:
        """Return the places of the rows that stay."""
        return np.flatnonzero(self.keep)

    def name(self, place: int) -> str:
        """Return how a row is called in examples."""
        return f"row {int(self.frame.rows[place])}"

    def digests(self) -> Digests:
        """Return the digests of all rows' inputs, (N, 2)."""
        if self._digests is None:
            self._digests = digest_rows(self.frame.inputs, self.frame.columns)
        return self._digests

    def sketches(self) -> Sketches:
        """Return the sketches of all rows' inputs, (N, K)."""
        if self._sketches is None:
            self._sketches = sketch(self.frame.inputs, self.frame.columns)
        return self._sketches

    def pairs(self) -> Pairs:
        """Return the pairs of near duplicates among the rows that stay, as places, lower first, (P, 2)."""
        if self._pairs is None:
            places = self.kept()
            self._pairs = places[within(self.frame.modality, self.sketches()[places])]
        return self._pairs[self.keep[self._pairs].all(axis=1)]

    def change(self, **fields: Any) -> None:
        """Put other fields into the frame; new inputs have new digests."""
        self.frame = replace(self.frame, **fields)
        if "inputs" in fields:
            self._forget()

    def writable(self) -> npt.NDArray[Any]:
        """Return the inputs for writing: a copy on disk, made once, since the reader's may be the upload itself."""
        if not self._own:
            self.change(inputs=self._copy(np.arange(self._matrix().shape[1]), "own.npy"))
            self._own = True
        self._forget()
        return self._matrix()

    def drop_columns(self, dropped: Sequence[int]) -> None:
        """Leave columns of a table out."""
        left = np.setdiff1d(np.arange(len(self.frame.columns)), dropped)
        inputs = self._copy(left, f"left{len(left)}.npy")
        self.change(inputs=inputs, columns=tuple(self.frame.columns[j] for j in left))
        self._own = True

    def blocks(self, places: Ints) -> Iterator[tuple[int, Floats]]:
        """Yield a table's values at `places` in blocks of columns: where a block begins, and (n, width) float64."""
        matrix = self._matrix()
        width = max(1, CHUNK_BYTES // max(1, 8 * len(places)))
        for start in range(0, matrix.shape[1], width):
            yield start, np.array(matrix[places, start : start + width], dtype=np.float64, order="F")

    def _forget(self) -> None:
        self._digests = self._sketches = self._pairs = None

    def _matrix(self) -> npt.NDArray[Any]:
        inputs: Inputs = self.frame.inputs
        assert isinstance(inputs, np.ndarray)
        return inputs

    def _copy(self, columns: Ints, name: str) -> npt.NDArray[Any]:
        matrix = self._matrix()
        shape = (len(matrix), len(columns))
        copy = np.lib.format.open_memmap(self.folder / name, mode="w+", dtype=np.float32, shape=shape)
        step = max(1, CHUNK_BYTES // max(1, matrix[:1].nbytes))
        for start in range(0, len(matrix), step):
            copy[start : start + step] = matrix[start : start + step][:, columns]
        return copy
