"""What the kept rows look like, column by column; single pass over bounded pieces."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frame import Bytes, Floats
from app.datasets.report import ColumnProfile, ImageProfile, TargetProfile
from app.ml.spec import SPLITS, ColumnSpec, TargetSpec

TOP = 10
COUNTED = 100_000
CHUNK_BYTES = 32 << 20


def image_profile(inputs: npt.NDArray[Any]) -> ImageProfile:
    """Return size and channel moments of images uint8 (N, H, W, C)."""
    step = max(1, CHUNK_BYTES // max(1, inputs[:1].nbytes))
    levels = np.arange(256, dtype=np.float64)
    counts = np.zeros((inputs.shape[3], 256))
    for start in range(0, len(inputs), step):
        for channel in range(inputs.shape[3]):
            pixels = inputs[start : start + step, :, :, channel].reshape(-1)
            counts[channel] += np.bincount(pixels, minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(np.maximum(0, share @ levels**2 - mean**2))
    return ImageProfile(
        height=inputs.shape[1],
        width=inputs.shape[2],
        channels=inputs.shape[3],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
    )


def column_profiles(inputs: npt.NDArray[Any], columns: tuple[ColumnSpec, ...]) -> tuple[ColumnProfile, ...]:
    """Return a profile of each column of a table float32 (N, D), read in blocks of columns."""
    profiles: list[ColumnProfile] = []
    width = max(1, CHUNK_BYTES // max(1, 8 * len(inputs)))
    for start in range(0, len(columns), width):
        block = np.array(inputs[:, start : start + width], dtype=np.float64, order="F")
        for j, spec in enumerate(columns[start : start + width]):
            profiles.append(ColumnProfile(**_facts(spec.name, spec.categories, spec.type, block[:, j])))
    return tuple(profiles)


def target_profiles(targets: Floats, specs: tuple[TargetSpec, ...], split: Bytes) -> tuple[TargetProfile, ...]:
    """Return a profile of each target (N, T) with the rows of each class in each split."""
    return tuple(
        TargetProfile(
            **_facts(spec.name, spec.classes, spec.type, targets[:, t]), classes=_classes(spec, targets[:, t], split)
        )
        for t, spec in enumerate(specs)
    )


def _classes(spec: TargetSpec, values: Floats, split: Bytes) -> dict[str, dict[str, int]]:
    if spec.type == "number":
        return {}
    present = ~np.isnan(values)
    flat = values[present].astype(np.int64) * len(SPLITS) + split[present]
    table = np.bincount(flat, minlength=len(spec.classes) * len(SPLITS)).reshape(-1, len(SPLITS))
    return {name: dict(zip(SPLITS, map(int, row), strict=True)) for name, row in zip(spec.classes, table, strict=True)}


def _facts(name: str, categories: tuple[str, ...], kind: str, values: Floats) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    facts: dict[str, Any] = {"name": name, "type": kind, "count": len(present), "missing": len(values) - len(present)}
    facts |= dict.fromkeys(("min", "max", "mean", "std", "distinct"))
    facts["top"] = {}
    if kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(categories))
        best = np.argsort(-counts, kind="stable")[:TOP]
        facts["top"] = {categories[i]: int(counts[i]) for i in best if counts[i]}
        facts["distinct"] = int((counts > 0).sum())
    elif len(present):
        facts |= {"min": float(present.min()), "max": float(present.max())}
        facts |= {"mean": float(present.mean()), "std": float(present.std())}
        if len(present) <= COUNTED:
            facts["distinct"] = len(np.unique(present))
    return facts
