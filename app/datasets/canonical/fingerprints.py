"""Fingerprints of rows: their digests and sketches, by which two datasets are compared without reading them again.

They are part of the canonical form of a dataset (`digests.npy`, `likeness.npy`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.datasets.frames import Bytes, Ints
from app.datasets.frames.digests import Digests
from app.datasets.likeness import Sketches
from app.ml.spec import ModalityKind

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


def open_fingerprints(folder: Path, modality: ModalityKind) -> Fingerprints:
    """Open the fingerprints in a canonical folder, memory-mapped."""
    arrays = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES)
    return Fingerprints(modality, *arrays)


def write_fingerprints(fingerprints: Fingerprints, out: Path) -> list[str]:
    """Write the digests and sketches, and return the names of their files."""
    for name, array in zip(OWN_FILES, (fingerprints.digests, fingerprints.sketches), strict=True):
        np.save(out / name, np.ascontiguousarray(array), allow_pickle=False)
    return list(OWN_FILES)
