"""Fingerprints of rows: their digests and sketches, by which two datasets are compared without reading them again.

They are part of the canonical form of a dataset (`digests.npy`, `likeness.npy`).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.datasets.canonical.writer import FORMAT
from app.datasets.frames import Bytes, Ints
from app.datasets.frames.digests import Digests, digest_rows
from app.datasets.likeness import Sketches
from app.ml.data.stored_rows import Rows, open_rows, open_sharded
from app.ml.spec import DataSpec, ModalityKind

OWN_FILES = ("digests.npy", "likeness.npy")
FILES = (*OWN_FILES, "split.npy", "rows.npy")


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Digests (N, 2) and sketches (N, K) of rows, with their splits (N,) and their numbers in the source (N,)."""

    modality: ModalityKind
    digests: Digests
    sketches: Sketches
    split: Bytes
    rows: Ints


def is_rounded(folder: Path) -> bool:
    """Return whether an earlier release wrote a canonical folder, whose numbers and digests are of float32."""
    return bool(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["format"] < FORMAT)


def open_fingerprints(folder: Path, spec: DataSpec, *, rounded: bool = False) -> Fingerprints:
    """Open the fingerprints in a canonical folder, memory-mapped.

    With `rounded`, digests are of numbers rounded to float32, as earlier releases wrote them; that takes the inputs.
    """
    digests, *others = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES)
    if rounded and not is_rounded(folder):
        inputs = open_sharded(folder, others[1], spec.shards) if spec.shards else open_rows(folder)
        digests = digest_rows(_numbers(inputs[:], spec), spec.columns, rounded=True)
    return Fingerprints(spec.modality, digests, *others)


def _numbers(rows: Rows, spec: DataSpec) -> Rows:
    """Return rows without the words of texts that a table's rows have behind their numbers."""
    return rows[:, : len(spec.columns)] if spec.modality == "table" else rows


def write_fingerprints(fingerprints: Fingerprints, out: Path) -> list[str]:
    """Write the digests and sketches, and return the names of their files."""
    for name, array in zip(OWN_FILES, (fingerprints.digests, fingerprints.sketches), strict=True):
        np.save(out / name, np.ascontiguousarray(array), allow_pickle=False)
    return list(OWN_FILES)
