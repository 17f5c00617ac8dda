"""The state of a cleaning, on which its steps work: the rows, which of them are kept, and the report so far."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Bools, Bytes, Floats, Frame, Inputs, Ints, Loaded
from app.datasets.frames.chunks import CHUNK_BYTES, row_chunks, work_in_parts, work_on_texts
from app.datasets.frames.decodings import Decodings, EarlierImages
from app.datasets.frames.digests import Digests, digest_rows
from app.datasets.frames.texts import Texts
from app.datasets.likeness import Pairs, Sketches, sketch, within
from app.datasets.report import Notes, Reason, Removal, StepReport, Unit
from app.kit.parts import Processes

MAX_EXAMPLES = 5


@dataclass(slots=True)
class CleaningState:
    """The rows after the steps so far.

    `keep` (N,) masks the rows that are kept; `split` (kept,) is None until the rows are split. `decodings` are those of
    all rows while their inputs are as they were decoded.
    """

    frame: Frame
    loaded: Loaded
    notes: Notes
    folder: Path
    max_listed: int
    processes: Processes = field(default_factory=Processes)
    keep: Bools = field(init=False)
    decodings: Decodings | None = field(init=False)
    split: Bytes | None = None
    removals: list[Removal] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    steps: list[StepReport] = field(default_factory=list)
    _digests: Digests | None = None
    _sketches: Sketches | None = None
    _near_pairs: Pairs | None = None
    _writable: bool = False

    def __post_init__(self) -> None:
        self.keep = np.ones(len(self.frame.rows), dtype=np.bool_)
        self.decodings = self.loaded.decodings

    def record(self, kind: str, action: str, affected: int, unit: Unit, decision: str, examples: Sequence[str]) -> None:
        """Put into the report what a step of cleaning found and did; `affected` counts things of the `unit`."""
        self.steps.append(
            StepReport(
                kind=kind,
                action=action,
                affected=affected,
                unit=unit,
                decision=decision,
                examples=tuple(examples[:MAX_EXAMPLES]),
            )
        )

    def add_removal(self, removal: Removal) -> None:
        """Count a removal, and list it unless the list is full."""
        self.counts[removal.reason] += 1
        if len(self.removals) < self.max_listed:
            self.removals.append(removal)

    def remove(self, positions: Ints, reason: Reason, detail: str, other: Ints | None = None) -> None:
        """Remove the rows at `positions` (n,); `other` (n,) are the positions of the rows that they repeat."""
        self.keep[positions] = False
        self.counts[reason] += len(positions)
        room = max(0, self.max_listed - len(self.removals))
        rows = self.frame.rows
        for k, position in enumerate(positions[:room]):
            text = detail if other is None else f"{detail} {rows[other[k]]}"
            self.removals.append(Removal(row=int(rows[position]), reason=reason, detail=text))

    def kept(self) -> Ints:
        """Return the positions of the kept rows, (kept,)."""
        return np.flatnonzero(self.keep)

    def row_name(self, position: int) -> str:
        """Return how examples name a row."""
        return f"row {int(self.frame.rows[position])}"

    def digests(self) -> Digests:
        """Return the digests of all rows' inputs, (N, 2)."""
        if self._digests is None:
            work = partial(digest_rows, columns=self.frame.columns)
            self._digests = self._in_parts(work, attrgetter("digests"))
        return self._digests

    def rounded_digests(self) -> Digests:
        """Return the digests that an earlier release gave all rows' inputs, (N, 2)."""
        return digest_rows(self.frame.inputs, self.frame.columns, rounded=True)

    def sketches(self) -> Sketches:
        """Return the sketches of all rows' inputs, (N, K)."""
        if self._sketches is None:
            work = partial(sketch, columns=self.frame.columns)
            self._sketches = self._in_parts(work, attrgetter("sketches"))
        return self._sketches

    def near_pairs(self) -> Pairs:
        """Return the pairs of near duplicates among the kept rows as positions, lower first, (P, 2)."""
        if self._near_pairs is None:
            positions = self.kept()
            self._near_pairs = positions[within(self.frame.modality, self.sketches()[positions])]
        return self._near_pairs[self.keep[self._near_pairs].all(axis=1)]

    def change(self, **fields: Any) -> None:
        """Replace fields of the frame; new inputs have new digests and sketches."""
        self.frame = replace(self.frame, **fields)
        if "inputs" in fields:
            self._forget_fingerprints()

    def writable(self) -> npt.NDArray[Any]:
        """Return inputs that may be changed: a copy on disk, made once; those of a reader may be the upload."""
        if not self._writable:
            self.change(inputs=self._copy(np.arange(self._matrix().shape[1]), "writable.npy"))
            self._writable = True
        self._forget_fingerprints()
        return self._matrix()

    def drop_columns(self, dropped: Sequence[int]) -> None:
        """Remove columns of a table."""
        kept = np.setdiff1d(np.arange(len(self.frame.columns)), dropped)
        inputs = self._copy(kept, f"columns{len(kept)}.npy")
        self.change(inputs=inputs, columns=tuple(self.frame.columns[j] for j in kept))
        self._writable = True

    def blocks(self, positions: Ints) -> Iterator[tuple[int, Floats]]:
        """Yield the rows of a table at `positions` (n,) in blocks: the first column, and float64 (n, width)."""
        matrix = self._matrix()
        width = max(1, CHUNK_BYTES // max(1, 8 * len(positions)))
        for start in range(0, matrix.shape[1], width):
            yield start, np.array(matrix[positions, start : start + width], dtype=np.float64, order="F")

    def _in_parts(
        self, work: Callable[[Any], npt.NDArray[Any]], known: Callable[[EarlierImages], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Return what `work` makes of each row's inputs, (N, K), or what is `known` of it."""
        inputs, decodings = self.frame.inputs, self.decodings
        if isinstance(inputs, Texts):
            return work_on_texts(work, inputs, self.processes)
        if decodings is None or decodings.earlier is None or not (decodings.places >= 0).any():
            return work_in_parts(work, inputs, self.processes)
        results = known(decodings.earlier)[decodings.places]
        new = np.flatnonzero(decodings.places < 0)
        if len(new):
            results[new] = work_in_parts(work, inputs, self.processes, new)
        return results

    def _forget_fingerprints(self) -> None:
        self._digests = self._sketches = self._near_pairs = self.decodings = None

    def _matrix(self) -> npt.NDArray[Any]:
        inputs: Inputs = self.frame.inputs
        assert isinstance(inputs, np.ndarray)
        return inputs

    def _copy(self, columns: Ints, name: str) -> npt.NDArray[Any]:
        """Copy some columns of the table into a mapped file and return that, (N, columns)."""
        matrix = self._matrix()
        shape = (len(matrix), len(columns))
        copy = np.lib.format.open_memmap(self.folder / name, mode="w+", dtype=np.float64, shape=shape)
        for rows in row_chunks(matrix):
            copy[rows] = matrix[rows][:, columns]
        return copy
